"""`lvlm-saliency data`: write the scenes data set; say what each benchmark needs."""

from __future__ import annotations

from pathlib import Path

import click

from .options import debug_option, json_option

BENCHMARKS = {
    "scenes": "nothing: `lvlm-saliency data scenes` draws pictures, captions, questions and object lists from a seed",
    "chair": "pictures of MS-COCO val2014, its instance and caption annotations, and the official synonyms list",
    "pope": "pictures of MS-COCO val2014 and the official question files (random, popular, adversarial)",
    "mme": "the MME folders of pictures with their question files (asked for from its authors)",
    "amber": "the AMBER pictures with its query, annotation, relation and safe-word files",
}
EXAMPLE = """\b
Examples:
  lvlm-saliency data
  lvlm-saliency data scenes --n 300 --seed 7 --out scenes-300
"""


@click.group(invoke_without_command=True, epilog=EXAMPLE)
@json_option
@debug_option
@click.pass_context
def data(ctx, as_json):
    """Write data sets, or (alone) list what each benchmark needs. Nothing is ever downloaded."""
    if ctx.invoked_subcommand is not None:
        return
    from .output import print_json

    if as_json:
        print_json([{"benchmark": name, "needs": needs} for name, needs in BENCHMARKS.items()])
        return
    for name, needs in BENCHMARKS.items():
        click.echo(f"{name:8}{needs}")


@data.command(epilog="Example:  lvlm-saliency data scenes --n 300 --seed 7 --out scenes-300")
@click.option("--n", "count", type=click.IntRange(1, 1_000_000), default=300, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@debug_option
def scenes(count, seed, out):
    """Write drawn scenes with exact ground truth: pictures, captions, yes/no questions, object lists."""
    from ..scenes.dataset import write_dataset

    write_dataset(count, seed, out)
    click.echo(f"wrote {count} scenes to {out}")
