"""docs/rivals-defaults.md: every setting of every rival method is in it, with the default that the code has."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

from lvlm_saliency.interventions.registry import BUILT_IN, method_class

PAGE = Path(__file__).parents[2] / "docs" / "rivals-defaults.md"
OURS = {"locore", "sgrs", "guard", "sample", "beam", "dopra"}  # not rivals, or without released code


def rows():
    """(method, setting) to (default, released, mark, as released) of the table."""
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[1].startswith("`"):
            key = cells[0], cells[1].strip("`")
            assert key not in found, f"{key} stands twice in the table"
            found[key] = ast.literal_eval(cells[2].strip("`")), *cells[3:]
    return found


def rivals():
    return {kind.__name__: kind for kind in map(method_class, BUILT_IN) if kind.name not in OURS}


def test_the_table_has_the_defaults_of_the_code():
    code = {
        (name, field.name): field.default
        for name, kind in rivals().items()
        for field in dataclasses.fields(kind)
        if field.name != "seed"
    }
    page = {key: row[0] for key, row in rows().items()}
    assert page == code
    assert all(type(page[key]) is type(code[key]) for key in code)


def test_a_marked_row_says_how_to_run_it_as_released():
    """And what it says is a setting that the method takes, and not the default."""
    for (name, setting), (default, released, mark, advice) in rows().items():
        assert (mark == "*") == bool(advice), (name, setting)
        if not mark:
            continue
        given = dict([advice.strip("`").split("=")])
        (given_name,) = given
        value = ast.literal_eval(given[given_name])
        assert released or setting == "mode"
        made = rivals()[name](**{given_name: value})
        assert getattr(made, given_name) == value
        assert given_name != setting or value != default
