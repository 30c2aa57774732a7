"""Labelled texts about drawn pictures, and runs of `annotate` on them."""

from __future__ import annotations

import json

from lvlm_saliency.annotation import AnnotateSettings, annotate
from lvlm_saliency.risk.model import SHIPPED

TEXTS = (
    "There is a dog on a bed. The dog is brown.",
    "There is a clock.",
    "",
    "There are two cats and no chair.",
    "There is a cup on the bed.",
)


def settings(folder, out, **more):
    chosen = {"words": "scenes", "detectors": ["svar", "nll"], "risk": SHIPPED, "batch_size": 2, **more}
    return AnnotateSettings(input=folder / "in.jsonl", out=out, **chosen)


def run(folder, out, loaded, listener=None, **more):
    return annotate(settings(folder, out, **more), model=loaded[0], processor=loaded[1], listener=listener)


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]
