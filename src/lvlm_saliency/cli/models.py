"""`lvlm-saliency models`: supported families, what was tested, presets."""

from __future__ import annotations

import dataclasses

import click

from .options import debug_option, json_option

EXAMPLE = """\b
Example:
  lvlm-saliency models
"""


@click.command(epilog=EXAMPLE)
@json_option
@debug_option
def models(as_json):
    """List model families: supported or refused (and why), tested checkpoints' shapes, presets of the methods.

    Any other decoder-only checkpoint works as well if its attention goes through transformers' attention interface.
    """
    from ..families import FAMILIES
    from .output import console, print_json

    if as_json:
        print_json([{**dataclasses.asdict(family), "tested": family.tested} for family in FAMILIES])
        return
    from rich.table import Table

    out = console()
    table = Table(box=None, pad_edge=False)
    for column in ("family", "model type", "state", "heat map", "LocoRE preset", "SGRS layers", "notes"):
        table.add_column(column, overflow="fold", no_wrap=column in ("model type", "LocoRE preset", "SGRS layers"))
    shipped = "three million parameters; the default of every command"
    table.add_row("scenes (shipped)", "llava", "tested", "yes", "", "", shipped)
    for family in FAMILIES:
        state = "refused" if family.refused else "tested" if family.tested else "traced"
        heat = "yes" if family.grid else "no"
        preset = "" if family.refused else f"locore:beta={family.beta:g},window={family.window}"
        depth = "" if family.refused else f"{family.depth[0]:.0%} to {family.depth[1]:.0%}"
        notes = family.refused or family.no_grid or family.notes
        table.add_row(family.name, family.model_type, state, heat, preset, depth, notes)
    out.print(table)
    out.print("LocoRE presets are for --method, as they stand; SGRS takes its layers by itself.", style="dim")
    out.print("lvlm-saliency tune looks for settings that suit a model better, and writes a preset file.", style="dim")
