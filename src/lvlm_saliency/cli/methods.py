"""`lvlm-saliency methods`: the methods and their settings."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .blocks import pairs, print_blocks, print_list, unwrapped
from .completion import method_names
from .options import debug_option, json_option
from .quiet import quiet

if TYPE_CHECKING:
    from rich.console import Console

    from lvlm_saliency.interventions.base import Method

EXAMPLE = """\b
Examples:
  lvlm-saliency methods
  lvlm-saliency methods sgrs
"""

COLUMNS = (
    ("paper", "paper", 0),
    ("edits", "changes", 24),
    ("cost", "cost", 32),
    ("families", "families", 18),
    ("composes with", "composes", 30),
)
"""Head, key, and share of the width that name and paper leave."""
PAPER = len("arXiv 2311.17911")
TABLE = 110
"""Number of columns from which on a table is printed; on narrower terminals every method has a block of its own."""
WIDEST = 170


@click.command(epilog=EXAMPLE)
@click.argument("name", required=False, shell_complete=method_names)
@json_option
@debug_option
def methods(name: Any, as_json: bool) -> None:
    """List the registered methods; with NAME, describe one and its settings."""
    from .output import console, print_json

    with quiet():
        from ..interventions.registry import method_class
        from ..interventions.registry import methods as names

        found = [_describe(key, method_class(key)) for key in ([name.lower()] if name else names())]
    if as_json:
        print_json(found)
    elif name:
        _print_one(console(), found[0])
    else:
        hint = "lvlm-saliency methods NAME describes a method and its settings"
        print_list(console(), found, _print_table, _print_blocks, TABLE, hint)


def _print_table(out: Console, found: Sequence[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    named = max(len(data["name"]) for data in found)
    left = min(out.width, WIDEST) - named - PAPER - 3 * len(COLUMNS)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, leading=1)
    table.add_column("name", style="bold", width=named)
    for head, _, share in COLUMNS:
        width = left * share // sum(share for _, _, share in COLUMNS) if share else PAPER
        table.add_column(head, width=width, overflow="fold")
    for data in found:
        table.add_row(data["name"], *(data[key] or "–" for _, key, _ in COLUMNS))
    out.print(table)


def _print_blocks(out: Console, found: Sequence[dict[str, Any]]) -> None:
    print_blocks(out, [(data["name"], [(head, data[key] or "–") for head, key, _ in COLUMNS]) for data in found])


def _print_one(out: Console, data: dict[str, Any]) -> None:
    out.print(data["name"], style="bold")
    out.print(f"{data['summary']}\n\n{unwrapped(data['description'])}\n", markup=False)
    settings = ", ".join(f"{key}={_shown(value)}" for key, value in data["settings"].items())
    out.print(pairs([*((head, data[key] or "–") for head, key, _ in COLUMNS), ("settings", settings or "none")]))


def _describe(name: str, kind: type[Method]) -> dict[str, Any]:
    text = inspect.getdoc(kind) or ""
    return {
        "name": name,
        "summary": text.split("\n\n")[0].replace("\n", " "),
        "description": text.partition("\n\n")[2],
        "changes": kind.edits,
        "cost": kind.cost,
        "extra_forwards": kind().extra_forwards,
        "families": kind.families,
        "composes": kind.composes,
        "paper": kind.paper,
        "settings": {field.name: _default(field) for field in dataclasses.fields(kind)},
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _shown(value: Any) -> str:
    return "default" if value is None else str(value)
