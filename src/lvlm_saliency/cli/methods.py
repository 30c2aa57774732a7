"""`lvlm-saliency methods`: what there is, and every setting."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import click

from .options import debug_option, json_option
from .quiet import quiet

EXAMPLE = """\b
Examples:
  lvlm-saliency methods
  lvlm-saliency methods sgrs
"""


@click.command(epilog=EXAMPLE)
@click.argument("name", required=False)
@json_option
@debug_option
def methods(name, as_json):
    """List the registered methods; with NAME, describe one and its settings."""
    from .output import console, print_json

    with quiet():
        from ..interventions.registry import method_class
        from ..interventions.registry import methods as names

        found = {key: _describe(key, method_class(key)) for key in ([name.lower()] if name else names())}
    if as_json:
        print_json(list(found.values()))
        return
    out = console()
    for data in found.values():
        out.print(f"{data['name']}", style="bold", end="")
        out.print(f"  {data['summary']}")
        if name:
            out.print(f"\n{data['description']}\n")
        out.print(f"  changes: {data['changes']}; cost: {data['cost']}; paper: {data['paper'] or 'none'}")
        out.print(f"  families: {data['families']}; goes with: {data['composes']}")
        out.print(f"  settings: {', '.join(f'{key}={_shown(value)}' for key, value in data['settings'].items())}\n")


def _describe(name: str, kind: type) -> dict[str, Any]:
    text = inspect.getdoc(kind) or ""
    return {
        "name": name,
        "summary": text.split("\n\n")[0].replace("\n", " "),
        "description": text.partition("\n\n")[2],
        "changes": getattr(kind, "edits", ""),
        "cost": getattr(kind, "cost", ""),
        "extra_forwards": getattr(kind(), "extra_forwards", None),
        "families": getattr(kind, "families", ""),
        "composes": getattr(kind, "composes", ""),
        "paper": getattr(kind, "paper", ""),
        "settings": {field.name: _default(field) for field in dataclasses.fields(kind)},
    }


def _default(field: dataclasses.Field) -> Any:
    return field.default_factory() if field.default is dataclasses.MISSING else field.default


def _shown(value: Any) -> str:
    return "default" if value is None else str(value)
