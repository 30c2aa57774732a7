"""`lvlm-saliency evaluate`: methods on whole benchmarks, and comparisons of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import completion
from .options import (
    BATCH,
    MODEL,
    RESAMPLES,
    SEED,
    TEXTS,
    TOKENS,
    Number,
    Temperature,
    debug_option,
    device_option,
    json_option,
)
from .output import console, print_json, say
from .progress import progress_bar
from .quiet import quiet
from .wide import print_table
from .workers import split, worker_options, workers

if TYPE_CHECKING:
    from lvlm_saliency.evaluation.summary.build import Report

EXAMPLE = """\b
Examples:
  lvlm-saliency evaluate --model scenes --benchmark scenes-caption --benchmark scenes-pope \\
      --method locore --method sgrs --method sgrs+locore --method sgrs:alpha=0.9,order=greedy --n 100 --out runs/x
  lvlm-saliency evaluate --model llava-hf/llava-1.5-7b-hf --benchmark pope --data POPE/output/coco \\
      --images coco/val2014 --method locore --out runs/llava --shard 1/2
  lvlm-saliency evaluate --model scenes --benchmark scenes-caption --method all --n 20 --max-new-tokens 128 \\
      --out runs/all
  lvlm-saliency evaluate --model scenes --benchmark scenes-caption --method all --out runs/all --ray --workers 2
  lvlm-saliency evaluate --config run.yaml --out runs/y
  lvlm-saliency evaluate --report runs/x runs/y
"""


@click.command(epilog=EXAMPLE)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--report", is_flag=True, help="Run nothing: compare the finished RUNS (one or several folders).")
@click.option(
    "--model",
    metavar="ID",
    shell_complete=completion.models,
    help=MODEL,
)
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.benchmark_names,
    help="One of those that `lvlm-saliency data` lists; with settings as in pope:parser=opera. Repeatable.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="SPEC",
    shell_complete=completion.evaluated_methods,
    help="NAME or NAME:SETTING=VALUE,... as in sgrs:alpha=0.9,order=greedy; sgrs+locore for both; a preset FILE.yaml; "
    "all for every registered method by itself at its default settings. Repeatable.",
)
@click.option(
    "--out",
    metavar="DIR",
    shell_complete=completion.folder,
    help="The run's folder; the same command continues where it stopped.",
)
@click.option("--n", type=TEXTS, help="Pictures of each benchmark (for mme: of each task), the first of its list.")
@click.option("--seed", type=SEED, help="Seed of every random draw.  [default: 0]")
@click.option("--max-new-tokens", type=TOKENS, help="Limit on each answer, for all systems.  [default: 512]")
@click.option("--temperature", type=Temperature(zero=False), help="For all systems that sample.  [default: 1.0]")
@click.option("--top-p", type=Number(0, 1, min_open=True), help="For all systems that sample.  [default: 1.0]")
@click.option("--batch-size", type=BATCH, help="Items decoded together; results do not depend on it.  [default: 8]")
@click.option(
    "--shard", metavar="I/K", help="Run the I-th of K parts; other processes run the others in the same folder."
)
@click.option("--images", metavar="DIR", shell_complete=completion.folder, help="Folder of the pictures.")
@click.option(
    "--data",
    metavar="DIR",
    shell_complete=completion.folder,
    help="Folder of the official files, or hub for pope and mme.",
)
@click.option("--dtype", help="auto, float32, bfloat16 or float16.  [default: auto]")
@device_option
@click.option("--revision", metavar="REV", help="Branch, tag or commit of a hub checkpoint.")
@click.option("--skip-errors", is_flag=True, default=None, help="Leave out, and count, pictures that cannot be read.")
@click.option("--resamples", type=RESAMPLES, help="Bootstrap resamples behind each interval.  [default: 2000]")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of these settings; options override it.")
@worker_options
@json_option
@debug_option
def evaluate(runs: tuple[Path, ...], report: bool, config: Path | None, as_json: bool, **given: Any) -> None:
    """Run benchmarks under methods, with greedy and sampled baselines, intervals and a length-matched control.

    Every answer is saved as soon as it is written: a killed command continues when it is given again. Runs of different
    settings in one folder are refused.
    """
    if report != bool(runs):
        raise click.UsageError(
            "--report needs the folders of finished runs" if report else f"unexpected {runs[0]}; --report compares runs"
        )
    with quiet(as_json):
        shown, values, folder = _compared(runs, given["out"]) if report else _ran(config, given)
    if shown is None:
        return
    if as_json:
        print_json(values)
        return
    _print_report(shown)
    if folder:
        say("", f"full report with plots: {folder}")


def _ran(config: Path | None, given: dict[str, Any]) -> tuple[Report | None, Any, Path | None]:
    """The report, the scores and the page of a run; no report while other shards have items to do."""
    from lvlm_saliency.evaluation.summary.build import report

    from ..evaluation.runner import evaluate as run
    from ..evaluation.settings import Settings, from_file

    over, given = split(given)
    values = {name: value for name, value in given.items() if value not in (None, ())}
    settings = from_file(config, values) if config else Settings.from_mapping(values)
    with progress_bar() as listener, workers(over, settings, listener) as pool:
        scores = run(settings, pool=pool, listener=listener)
    shown = report([settings.out]) if scores is not None else None
    return shown, scores, Path(settings.out) / "summary.html"


def _compared(runs: Sequence[Path], out: str | None) -> tuple[Report, Any, Path | None]:
    """The report and the scores of finished runs, and the page where `out` asks for one."""
    from lvlm_saliency.evaluation.summary.build import report
    from lvlm_saliency.files.json_lines import write_whole

    from ..evaluation.folder import RunFolder

    compared = report(runs)
    page = None if out is None else Path(out) / "report.html"
    if page:
        write_whole(page, compared.html())
        write_whole(page.with_suffix(".md"), compared.markdown())
    return compared, {run.name: RunFolder(run).load("scores.json") for run in runs}, page


def _print_report(shown: Report) -> None:
    """Findings and figures of each benchmark; the controls and the plots are in the files."""
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from lvlm_saliency.model.cut_off import CUT

    from ..plain_text import one_line

    out = console()
    tones = {"better": "green", "worse": "red", "changed": "yellow"}
    for section in shown.sections:
        out.print(Text(f"\n{one_line(section.title)}", style="bold"), Text(one_line(section.lead), style="dim"))
        for table in section.tables[:2]:
            grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            for head in table.head:
                grid.add_column(Text(one_line(head)), overflow="fold")
            for row in table.rows:
                texts = [f"{one_line(cell.text)}\n{one_line(cell.note)}".strip() for cell in row]
                tinted = zip(texts, row, strict=True)
                grid.add_row(*(Text(text, style=tones.get(cell.tone, "")) for text, cell in tinted))
            print_table(out, grid)
            if any(cell.note == CUT for row in table.rows for cell in row):
                out.print(Text(f"{CUT}: the limit on new tokens ended some of these answers", style="dim"))
        for finding in section.findings:
            out.print(Padding(Text(one_line(finding)), (0, 0, 0, 2)))
