"""Lookback ratio: attention per picture token against attention per token after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class Lookback(Detector):
    """-mean over layers and heads of r[l, h] = mean_context A / (mean_context A + mean_new A): means over keys, so the
    lengths of both cancel.

    The paper is about text: context is the document, new what was generated. Here, mode="image", context is the picture
    and new everything after it (the prompt's tail, as in the released code, and the answer); mode="prompt": context is
    the whole prompt and new the answer, undefined at its first token. The paper fits a logistic regression on all L x H
    ratios; that is `lookback-trained`. This row is the plain mean.

    Paper: Chuang et al., Lookback Lens, EMNLP 2024, arXiv 2407.07071; code voidism/Lookback-Lens@f2846ef.
    """

    name: ClassVar[str] = "lookback"
    title: ClassVar[str] = "lookback ratio of the picture"
    paper: ClassVar[str] = "arXiv 2407.07071"

    mode: str = "image"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("mode", ("image", "prompt"))

    def needs(self, depth: Depth) -> Needs:
        return Needs(attention=frozenset(depth.attention), heads=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        return -float(self.ratios(reading, token).mean())

    def ratios(self, reading: Reading, token: int) -> np.ndarray:
        """r, float64 `[layers, H]`; NaN where context or new is empty."""
        if self.mode == "image":
            context, begin = reading.image, int(reading.image.max(initial=-1)) + 1
        else:
            context, begin = np.arange(reading.prompt), reading.prompt
        return ratios(reading, self.row(token), context, begin)


def ratios(reading: Reading, row: int, context: np.ndarray, begin: int) -> np.ndarray:
    """The lookback ratio of every layer and head, `[layers, H]`: `context` against the keys from `begin` on."""
    found = []
    for layer in reading.depth.attention:
        weights = reading.headwise(layer, row)
        if not len(context) or begin >= weights.shape[1]:
            return np.full((len(reading.depth.attention), len(weights)), np.nan)
        back, new = weights[:, context].mean(axis=1), weights[:, begin:].mean(axis=1)
        with np.errstate(invalid="ignore"):  # a head that attends to neither: 0 / 0
            found.append(back / (back + new))
    return np.array(found)
