"""`lvlm-saliency data`: write the scenes data set, list the files that each benchmark needs, and check for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import completion
from .options import SEED, debug_option, json_option
from .output import print_json, say

EXAMPLE = """\b
Examples:
  lvlm-saliency data
  lvlm-saliency data check pope --data POPE/output/coco --images coco/val2014
  lvlm-saliency data scenes --n 300 --seed 7 --out scenes-300
"""
_FOLDER = click.Path(path_type=Path)


@click.group(invoke_without_command=True, epilog=EXAMPLE)
@json_option
@debug_option
@click.pass_context
def data(ctx: click.Context, as_json: bool) -> None:
    """Write data sets, or (alone) list what each benchmark needs. Nothing is ever downloaded."""
    if ctx.invoked_subcommand is not None:
        return
    from ..benchmarks.registry import runnable, spec

    if as_json:
        print_json(
            [
                {"benchmark": one.name, "needs": [vars(need) for need in one.needs], "hub": one.hub or None}
                for one in map(spec, runnable())
            ]
        )
        return
    for one in map(spec, runnable()):
        name, needs = one.name, one.needs
        say(name if needs else f"{name}    nothing: its pictures are drawn from a seed")
        for where in dict.fromkeys(need.where for need in needs):
            say(f"    from {where}")
            for need in needs:
                if need.where == where:
                    say(f"        {need.stem:30}{need.what}{' (optional)' if need.optional else ''}")
        if one.hub:
            say(f"    or both from the hub, as {one.hub}: --benchmark {name}:data=hub")


@data.command(epilog="Example:  lvlm-saliency data check pope --data POPE/output/coco --images coco/val2014")
@click.argument("benchmarks", nargs=-1, required=True, shell_complete=completion.benchmark_names)
@click.option("--data", "folder", type=_FOLDER, help="Folder of the official files.")
@click.option("--images", type=_FOLDER, help="Folder of the pictures.")
@json_option
@debug_option
def check(benchmarks: Any, folder: Any, images: Any, as_json: bool) -> None:
    """Report which of a benchmark's files and pictures are present; status 1 when a needed one is missing."""
    from ..benchmarks.sources import check as look
    from ..benchmarks.sources import complete

    found = {name: look(name, folder, images) for name in benchmarks}
    if as_json:
        rows = [{**vars(one.need), "benchmark": name, "path": one.path} for name in found for one in found[name]]
        print_json([{**row, "path": None if row["path"] is None else str(row["path"])} for row in rows])
    else:
        for name, needs in found.items():
            say(f"{name}: {'ready' if complete(needs) else 'incomplete'}")
            for one in needs:
                absent = "not given (optional)" if one.need.optional else f"MISSING: {one.need.what}; {one.need.where}"
                say(f"    {one.need.stem:30}{one.path or absent}")
    if not all(map(complete, found.values())):
        raise click.exceptions.Exit(1)


@data.command(epilog="Example:  lvlm-saliency data scenes --n 300 --seed 7 --out scenes-300")
@click.option("--n", "count", type=click.IntRange(1, 1_000_000), default=300, show_default=True, help="How many.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@debug_option
def scenes(count: Any, seed: Any, out: Any) -> None:
    """Write drawn scenes with exact ground truth: pictures, captions, yes/no questions, object lists."""
    from ..scenes.dataset import write_dataset

    write_dataset(count, seed, out)
    say(f"wrote {count} scenes to {out}")
