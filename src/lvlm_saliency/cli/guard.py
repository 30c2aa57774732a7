"""`lvlm-saliency guard`: the guard's calibration for a model, from labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import Number, debug_option, json_option
from .output import say
from .quiet import quiet
from .study import conduct, show, spelled, study_options

EXAMPLE = """\b
Examples:
  lvlm-saliency guard calibrate --n 1200 --out runs/guard
  lvlm-saliency guard calibrate --model llava-hf/llava-1.5-7b-hf --labels chair --data coco/annotations \\
      --images coco/val2014 --n 1000 --recall-loss 0.02 --out runs/llava-guard
  lvlm-saliency guard calibrate --no-risk --n 400 --out runs/questions-alone
  lvlm-saliency generate --image photo.jpg --prompt "Describe it." --method runs/guard/guard.yaml
"""


@click.group(epilog="Example:  lvlm-saliency guard calibrate --model scenes --n 300 --out runs/guard")
def guard() -> None:
    """The guard checks every object word while a text is written (`--method guard`)."""


@guard.command(epilog=EXAMPLE)
@click.option(
    "--recall-loss",
    type=Number(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="Expected share of a picture's correct objects that the guard may wrongly act on.",
)
@click.option(
    "--risk/--no-risk",
    default=True,
    show_default=True,
    help="Whether a risk model is trained; without one the model's own answers decide, and nothing is trained.",
)
@click.option(
    "--ask/--no-ask", default=True, show_default=True, help="Whether the guard asks the model about doubtful objects."
)
@study_options
@json_option
@debug_option
def calibrate(as_json: bool, recall_loss: float, risk: bool, ask: bool, **given: Any) -> None:
    """Fit the guard's risk and thresholds for a model on labelled pictures, and report on pictures it never saw.

    The pictures are split into four parts: training, thresholds, selection, report. OUT holds guard.yaml, which
    --method takes, with guard.safetensors beside it, and the page. A killed calibration continues where it stopped.
    """
    if given["out"] is None:
        raise click.UsageError("--out is missing: say where guard.yaml and the page shall go")
    with quiet(as_json):
        page, file = _run({"recall_loss": recall_loss, "risk": risk, "ask": ask}, given)
    preset = file.with_name("guard.yaml")
    if as_json:
        from .output import print_json

        print_json({"verdicts": page.summary()["findings"], "preset": str(preset)})
        return
    show("guard", page, file)
    say(f"  the guard, for --method: {preset}")


def _run(own: dict[str, Any], given: dict[str, Any]) -> tuple[Any, Path]:
    from ..extras import require
    from ..studies.calibrate.study import Calibrate

    require("studies", "matplotlib", "scipy", "sklearn", what="a calibration")
    words = ["guard", "calibrate", *spelled(calibrate, {**given, **own})]
    ((_, page, file),) = conduct([(Calibrate(**own), words)], given, apart=False)
    return page, file
