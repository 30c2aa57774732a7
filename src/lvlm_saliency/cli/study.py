"""`lvlm-saliency study`: the paper's claims, measured again on any model and labelled texts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from ..plain_text import one_line
from . import completion
from .options import (
    BATCH,
    RESAMPLES,
    SEED,
    TEXTS,
    TOKENS,
    debug_option,
    detector_option,
    device_option,
    json_option,
    model_option,
    options,
)
from .output import say
from .progress import progress_bar
from .quiet import quiet
from .workers import split, worker_options, workers

EXAMPLE = """\b
Examples:
  lvlm-saliency study separation --out runs/study
  lvlm-saliency study all --n 300 --out runs/study
  lvlm-saliency study separation decay --model llava-hf/llava-1.5-7b-hf --labels chair \\
      --data coco/annotations --images coco/val2014 --n 500 --out runs/llava
  lvlm-saliency study detect --detector all --n 300 --out runs/detectors
  lvlm-saliency study separation --labels labelled.jsonl --images pictures --out runs/mine
"""

study_options = options(
    model_option,
    click.option(
        "--labels",
        default="scenes-caption",
        show_default=True,
        metavar="SOURCE",
        help="Whose object words are labelled: scenes-caption or chair (the model writes; with settings as in "
        "chair:variant=lemmatizer), or a file of labelled texts (.jsonl).",
    ),
    click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Folder of the results (required)."),
    click.option("--n", type=TEXTS, default=500, show_default=True, help="Pictures, the first of a list."),
    click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of every draw and resample."),
    click.option("--max-new-tokens", type=TOKENS, default=128, show_default=True),
    click.option("--batch-size", type=BATCH, default=32, show_default=True, help="Texts at a time."),
    click.option("--images", metavar="DIR", shell_complete=completion.folder, help="Folder of the pictures."),
    click.option(
        "--data", metavar="DIR", shell_complete=completion.folder, help="Folder of the benchmark's official files."
    ),
    click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto"),
    device_option,
    click.option("--revision", metavar="REV", help="Branch, tag or commit of a hub checkpoint."),
    click.option("--resamples", type=RESAMPLES, default=2000, show_default=True, help="Behind each interval."),
    worker_options,
)


@click.command(epilog=EXAMPLE)
@click.argument("names", nargs=-1, metavar="NAME...", shell_complete=completion.study_names)
@detector_option("With detect: compare published detectors instead (all, or a name; repeat for several).")
@click.option("--list", "listed", is_flag=True, help="List the studies and what each asks.")
@study_options
@json_option
@debug_option
def study(names: tuple[str, ...], detectors: tuple[str, ...], listed: bool, as_json: bool, **given: Any) -> None:
    """Run studies (`all`: every one), each into a folder of its name: a page, its figures, its data.

    What the model writes and what traces find is kept in OUT/kept, so that the next study, or the same one after a
    kill, goes on from there.
    """
    if listed:
        _list(as_json)
        return
    if not names:
        raise click.UsageError("name at least one study, or all; --list shows them")
    if detectors:
        if names != ("detect",):
            raise click.UsageError("--detector goes with the study detect alone: study detect --detector all")
        names = (f"detectors:names={'+'.join(detectors)}",)
    if given["out"] is None:
        from lvlm_saliency.studies import open_studies

        open_studies(list(names))  # an unknown name is the greater mistake
        raise click.UsageError("--out is missing: say where page, figures and data shall go")
    with quiet(as_json):
        pages = _run(names, given)
    if as_json:
        from .output import print_json

        print_json({name: page.summary()["findings"] for name, page, _ in pages})
        return
    for name, page, file in pages:
        show(name, page, file)


def _run(names: tuple[str, ...], given: dict[str, Any]) -> list[tuple[str, Any, Path]]:
    from lvlm_saliency.studies import open_studies, written

    chosen = open_studies(list(names))
    return conduct([(one, ["study", written(one), *spelled(study, given)]) for one in chosen], given)


def conduct(
    chosen: list[tuple[Any, list[str]]], given: dict[str, Any], *, apart: bool = True
) -> list[tuple[str, Any, Path]]:
    """Run studies and write their pages.

    Args:
        chosen: studies, each with the command line that its page shows.
        given: the values of `study_options`.
        apart: whether each page has a folder of its own below OUT.

    Returns:
        (name, page, HTML file) of each.
    """
    from ..studies.lab import Lab
    from ..studies.settings import StudySettings

    over, given = split(given)
    settings = StudySettings(**given)
    pages = []
    with progress_bar() as bar, workers(over, settings.run(settings.out, ["scenes-caption"], []), bar) as pool:
        lab = Lab(settings, pool=pool, listener=bar)
        for one, words in chosen:
            lab.command = shlex.join(["lvlm-saliency", *words])
            page = one.run(lab)
            page.command = lab.command
            folder = settings.out / one.name if apart else settings.out
            pages.append((one.name, page, page.write(folder)))
    return pages


def spelled(command: click.Command, given: dict[str, Any]) -> list[str]:
    """The options that differ from their defaults, as command-line words; of folders only the last name."""
    words = []
    for option in command.params:
        value = given.get(option.name or "")
        if not isinstance(option, click.Option) or value in (None, option.default):
            continue
        local = option.name in ("out", "images", "data", "model", "labels") and Path(value).is_absolute()
        words += [option.opts[0], Path(value).name if local else str(value)]
    return words


def show(name: str, page: Any, file: Path) -> None:
    """Print the verdicts, and where the page is."""
    from rich.padding import Padding
    from rich.text import Text

    from ..report.console import plain
    from .output import console

    out = console()
    out.print(plain(f"\n{name}: {page.title}", "bold"))
    tones = {"holds": "green", "does not hold": "red"}
    for finding in page.findings:
        line = Text(f"{finding.verdict}: ", style=tones.get(finding.verdict, "yellow"))
        out.print(Padding(line.append(plain(finding.text, "default")), (0, 0, 0, 2)))
    out.print(plain(f"  full page: {one_line(file)}", "dim"))


def _list(as_json: bool) -> None:
    from lvlm_saliency.studies import STUDIES

    if as_json:
        from .output import print_json

        print_json({name: question for name, (_, question) in STUDIES.items()})
        return
    for name, (_, question) in STUDIES.items():
        say(f"{name:<12}{question}")
