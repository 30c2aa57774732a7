"""`lvlm-saliency tune`: settings for a model on a budget, their held-out effect, and a preset file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import completion
from .options import TEXTS, Number, debug_option, json_option, options
from .output import say
from .quiet import quiet
from .study import conduct, show, spelled, study_options

EXAMPLE = """\b
Examples:
  lvlm-saliency tune --out runs/tune
  lvlm-saliency tune --methods sgrs+locore --budget 4000 --out runs/tune
  lvlm-saliency tune --model llava-hf/llava-1.5-7b-hf --labels chair --data coco/annotations \\
      --images coco/val2014 --methods locore:space=probability --settings 9 --budget 1500 --n 500 --out runs/llava
  lvlm-saliency generate --image photo.jpg --prompt "Describe it." --method runs/tune/tune/preset.yaml
"""

tune_options = options(
    click.option(
        "--methods",
        default="locore",
        show_default=True,
        metavar="SPEC",
        shell_complete=completion.method_names,
        help="What is tuned: locore, sgrs, sgrs+locore, farsight, pai, tame, vcd; locore:space=logit fixes a setting.",
    ),
    click.option(
        "--objective",
        type=click.Choice(["chair_i", "chair_s", "f1"]),
        default="chair_i",
        show_default=True,
        help="Figure to improve within the margins; f1 is of precision (1 - CHAIR_i) and recall.",
    ),
    click.option("--budget", type=TEXTS, default=2000, show_default=True, help="Captions written for the choice."),
    click.option(
        "--settings", type=click.IntRange(1, 100_000), default=18, show_default=True, help="Settings to begin with."
    ),
    click.option("--keep", type=click.IntRange(2, 1000), default=3, show_default=True, help="1 in N stays per round."),
    click.option(
        "--recall-margin",
        type=Number(0, 1),
        default=0.02,
        show_default=True,
        help="How far recall may be below greedy's.",
    ),
    click.option(
        "--length-margin",
        type=Number(0, 1),
        default=0.1,
        show_default=True,
        help="Relative difference of mean length allowed.",
    ),
    click.option(
        "--form-margin",
        type=Number(0, 1),
        default=0.02,
        show_default=True,
        help="As --recall-margin, for well-formed captions.",
    ),
)
OWN = ("methods", "objective", "budget", "settings", "keep", "recall_margin", "length_margin", "form_margin")


@click.command(epilog=EXAMPLE)
@tune_options
@study_options
@json_option
@debug_option
def tune(as_json: bool, **given: Any) -> None:
    """Choose a method's settings for a model, and report their effect on held-out pictures.

    Settings are drawn from ranges and compared by successive halving on a development half of the pictures; the best is
    then measured once on --n pictures of the other half. OUT/tune holds the page and preset.yaml, which --method takes.
    A killed run continues where it stopped.
    """
    if given["out"] is None:
        raise click.UsageError("--out is missing: say where page and preset shall go")
    with quiet(as_json):
        page, file = _run(given)
    preset = file.with_name("preset.yaml")
    if as_json:
        from .output import print_json

        print_json({"verdicts": page.summary()["findings"], "preset": str(preset)})
        return
    show("tune", page, file)
    say(f"  the preset, for --method: {preset}")


def _run(given: dict[str, Any]) -> tuple[Any, Path]:
    from ..extras import require

    require("studies", "matplotlib", "scipy", "sklearn", what="tune")
    from ..studies.tune.study import Tune

    chosen = Tune(**{name: given[name] for name in OWN})
    shared = {name: value for name, value in given.items() if name not in OWN}
    ((_, page, file),) = conduct([(chosen, ["tune", *spelled(tune, given)])], shared)
    return page, file
