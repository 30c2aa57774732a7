"""`lvlm-saliency models`: supported families, tested shapes, presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .blocks import print_blocks
from .options import debug_option, json_option

if TYPE_CHECKING:
    from rich.console import Console

    from lvlm_saliency.model.families import FamilyInfo

EXAMPLE = """\b
Example:
  lvlm-saliency models
"""


TABLE = 180
"""Number of columns from which on a table is printed; on narrower terminals every family has a block of its own."""
COLUMNS = ("family", "model type", "state", "heat map", "LocoRE preset", "SGRS layers", "checkpoints", "notes")
SHIPPED = (
    "scenes (shipped)", "llava", "tested", "yes", "", "", "scenes",
    "three million parameters; the default of every command",
)  # fmt: skip


@click.command(epilog=EXAMPLE)
@json_option
@debug_option
def models(as_json: bool) -> None:
    """List model families: supported or refused (and why), tested checkpoints' shapes, presets of the methods.

    Any other decoder-only checkpoint works as well if its attention goes through transformers' attention interface;
    lvlm-saliency check --model M measures it.
    """
    from lvlm_saliency.model.families import FAMILIES

    from .output import console, print_json

    if as_json:
        more = [{"tested": family.tested, "proof": family.proof} for family in FAMILIES]
        print_json([{**dataclasses.asdict(family), **found} for family, found in zip(FAMILIES, more, strict=True)])
        return
    out = console()
    rows = [SHIPPED, *map(_row, FAMILIES)]
    (_print_table if out.width >= TABLE else _print_blocks)(out, rows)
    out.print()
    out.print(
        "Tested: small, a model of its classes with random weights; shapes, published configurations without weights; "
        "weights, trained ones.",
        style="dim",
    )
    out.print("LocoRE presets are for --method, as they stand; SGRS takes its layers by itself.", style="dim")
    out.print("lvlm-saliency tune looks for settings that suit a model better, and writes a preset file.", style="dim")


def _row(family: FamilyInfo) -> tuple[str, ...]:
    """A family's cells, in the order of `COLUMNS`."""
    return (
        family.name,
        family.model_type,
        "refused" if family.refused else f"tested: {', '.join(family.proof)}" if family.tested else "traced",
        "yes" if family.grid else "no",
        "" if family.refused else f"locore:beta={family.beta:g},window={family.window}",
        "" if family.refused else f"{family.depth[0]:.0%} to {family.depth[1]:.0%}",
        "\n".join(family.checkpoints),
        family.refused or family.no_grid or "; ".join(filter(None, (family.notes, "videos" if family.film else ""))),
    )


def _print_table(out: Console, rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, overflow="fold", no_wrap=column not in ("notes", "state"))
    for row in rows:
        table.add_row(*row)
    out.print(table)


def _print_blocks(out: Console, rows: Sequence[tuple[str, ...]]) -> None:
    print_blocks(out, [(name, list(zip(COLUMNS[1:], cells, strict=True))) for name, *cells in rows])
