"""`lvlm-saliency detectors`: the published scores, what each needs, and what it costs."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any

import click

from .blocks import pairs, print_blocks, print_list, unwrapped
from .completion import detector_names
from .options import debug_option, json_option
from .quiet import quiet

EXAMPLE = """\b
Examples:
  lvlm-saliency detectors
  lvlm-saliency detectors glsim
"""
COLUMNS = (
    ("paper", "paper"),
    ("needs", "needs"),
    ("further passes", "passes"),
    ("training", "training"),
    ("causal", "causal"),
)
TABLE = 110
"""Number of columns from which on a table is printed; on narrower terminals every detector has a block of its own."""
FITTED = {
    "none": "none",
    "scale": "a scale, on other pictures",
    "calibrated": "class means, on other pictures",
    "trained": "on labelled words",
}


@click.command(epilog=EXAMPLE)
@click.argument("name", required=False, shell_complete=detector_names)
@json_option
@debug_option
def detectors(name: Any, as_json: bool) -> None:
    """List the hallucination detectors; with NAME, describe one and its settings.

    A higher score always means more likely hallucinated. `causal`: the score is known as soon as the word is finished
    and does not depend on what follows.
    """
    from .output import console, print_json

    with quiet():
        from ..detection.registry import detectors as names

        found = [describe(key) for key in ([name.lower()] if name else names())]
    if as_json:
        print_json(found)
    elif name:
        _print_one(console(), found[0])
    else:
        hint = "lvlm-saliency detectors NAME describes a detector and its settings"
        print_list(console(), found, _print_table, _print_blocks, TABLE, hint)


def describe(name: str) -> dict[str, Any]:
    """The description of a detector, without a model."""
    from ..detection.base import NOMINAL
    from ..detection.registry import detector_class

    kind = detector_class(name)
    made = kind()
    text = inspect.getdoc(kind) or ""
    settings = {field.name: getattr(made, field.name) for field in dataclasses.fields(kind) if field.repr}
    return {
        "name": name,
        "title": kind.title,
        "description": text,
        "paper": kind.paper,
        "needs": ", ".join(made.needs(NOMINAL).kinds),
        "passes": kind.passes,
        "training": FITTED[kind.fit] + (f"; ships for {kind.ships}" if kind.ships else ""),
        "causal": "yes" if kind.causal else "no",
        "settings": {key: value for key, value in settings.items() if not hasattr(value, "predict")},
    }


def _print_table(out: Any, found: Sequence[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("name", style="bold", no_wrap=True)
    for head, key in COLUMNS:
        table.add_column(head, no_wrap=key in ("paper", "causal"), overflow="fold")
    for data in found:
        table.add_row(data["name"], *(data[key] or "–" for _, key in COLUMNS))
    out.print(table)


def _print_blocks(out: Any, found: Sequence[dict[str, Any]]) -> None:
    print_blocks(out, [(data["name"], [(head, data[key] or "–") for head, key in COLUMNS]) for data in found])


def _print_one(out: Any, data: dict[str, Any]) -> None:
    out.print(f"{data['name']}: {data['title']}", style="bold", highlight=False)
    out.print(f"{unwrapped(data['description'])}\n", markup=False, highlight=False)
    settings = ", ".join(f"{key}={'default' if value is None else value}" for key, value in data["settings"].items())
    out.print(pairs([*((head, data[key] or "–") for head, key in COLUMNS), ("settings", settings or "none")]))
