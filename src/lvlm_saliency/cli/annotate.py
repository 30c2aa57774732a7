"""`lvlm-saliency annotate`: texts that any system wrote, read word by word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import completion
from .options import (
    BATCH,
    debug_option,
    detector_option,
    device_option,
    dtype_option,
    json_option,
    model_option,
    revision_option,
)
from .output import say
from .quiet import quiet
from .risk import open_detector, open_risk
from .workers import split, worker_options, workers

EXAMPLE = """\b
Examples:
  lvlm-saliency annotate --input answers.jsonl --images pictures --out runs/annotated
  lvlm-saliency annotate --input answers.jsonl --detector svar --detector nll --out runs/annotated
  lvlm-saliency annotate --model llava-hf/llava-1.5-7b-hf --input answers.jsonl --images coco/val2014 \\
      --words CHAIR/synonyms.txt --detector all --out runs/llava
"""


@click.command(epilog=EXAMPLE)
@click.option(
    "--input",
    "source",
    required=True,
    type=click.Path(path_type=Path),
    shell_complete=completion.file,
    help='JSON lines of {"image", "prompt", "answer"}; image may be a list; "spans" name the words to judge.',
)
@click.option("--images", metavar="DIR", shell_complete=completion.folder, help="Folder of the pictures.")
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Folder of the results.")
@model_option
@detector_option("A published score (lvlm-saliency detectors lists them), or all that need no training. Repeatable.")
@click.option(
    "--risk",
    metavar="FILE",
    shell_complete=completion.file,
    help="A risk model (study detect writes one).  [default: the one that ships with the model, if any]",
)
@click.option(
    "--words",
    default=None,
    metavar="SOURCE",
    help="Which words are judged: scenes or nouns (object names), a file of names and synonyms as CHAIR's, or every.  "
    "[default: scenes for the scenes model, else nouns]",
)
@click.option("--per", type=click.Choice(["mention", "token"]), default="mention", show_default=True, help="Of a row.")
@click.option("--batch-size", type=BATCH, default=8, show_default=True, help="Texts read together.")
@click.option("--skip-errors", is_flag=True, help="Leave out, and count, texts and pictures that cannot be read.")
@dtype_option
@device_option
@revision_option
@worker_options
@json_option
@debug_option
def annotate(source: Any, detectors: Any, risk: Any, words: Any, as_json: bool, **given: Any) -> None:
    """Read texts that any system wrote, and write a row for every object word (or token): where it stands, its
    saliency, log-probability and entropy under the model, the risk that it is hallucinated, and detectors' scores.

    OUT/rows.jsonl holds the rows, OUT/items.jsonl a line for every text. Kill the command and give it again, and it
    goes on. The model only reads: whoever wrote the texts, the figures are of how this model sees them.
    """
    with quiet(as_json):
        found = _run(source, detectors, risk, words, given)
    if as_json:
        from .output import print_json

        print_json(found)
        return
    kind = "rows" if given["per"] == "token" else "words"
    say(f"{found['rows']} {kind} of {found['items']} texts: {found['file']}")
    for reason, count in sorted(found["errors"].items(), key=lambda pair: -pair[1])[:5]:
        say(f"left out {count}: {reason}", err=True)


def _run(source: Path, detectors: tuple[str, ...], risk: str | None, words: str | None, given: dict[str, Any]) -> Any:
    from ..annotation import AnnotateSettings
    from ..annotation import annotate as run
    from ..annotation.readers import reader_pool
    from ..risk.model import SHIPPED
    from .progress import progress_bar

    over, given = split(given)
    model = given["model"]
    shipped = SHIPPED if model == "scenes" else None
    if risk is not None:
        open_risk(risk, model, None, "row")
    settings = AnnotateSettings(
        input=source,
        detectors=_chosen(detectors, model),
        risk=shipped if risk is None else risk,
        words=("scenes" if model == "scenes" else "nouns") if words is None else words,
        **given,
    )
    with progress_bar() as bar, workers(over, settings, bar, reader_pool) as pool:
        return run(settings, pool=pool, listener=bar)


def _chosen(asked: tuple[str, ...], model: str) -> tuple[str, ...]:
    """The detectors that are asked for; "all" stands for those that are ready to be used on this model."""
    from ..detection.fitted import is_ready
    from ..detection.registry import detector, detectors

    names: list[str] = []
    for name in asked:
        if name.strip().lower() != "all":
            names.append(open_detector(name, model).name)
            continue
        names += [one.name for one in map(detector, detectors()) if is_ready(one) and one.ships in ("", model)]
    return tuple(dict.fromkeys(names))
