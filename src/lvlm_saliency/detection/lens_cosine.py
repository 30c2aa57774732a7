"""Lens cosine: how near the picture's last states come to the word's direction in the unembedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Detector, Needs, patches
from lvlm_saliency.detection.geometry import cosines, largest
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class LensCosine(Detector):
    """-mean of the 10 (of 576, scaled) largest cosines between the picture's last hidden states, behind the final norm
    once, and the mean of the unembedding rows of the word's tokens.

    With `means` (class name to the mean of that cosine over calibration pictures) the class's own mean is taken off,
    an unknown class's by the mean of the means; `study detect` fits them on other pictures. The released code applies
    the final norm a second time to a state that has it: not done here.

    Source: peter-scitix/lvlm-hallucination-grounding@0f3006d (`gc`); no paper.
    """

    name: ClassVar[str] = "lens-cosine"
    title: ClassVar[str] = "cosine of picture states with the word's unembedding"
    paper: ClassVar[str] = "code only"
    places: ClassVar[tuple[str, ...]] = ("image",)
    granularity: ClassVar[str] = "word"
    fit: ClassVar[str] = "none"

    where: str = field(default="image", kw_only=True)
    count: int = 10
    means: Mapping[str, float] | None = None

    def needs(self, depth: Depth) -> Needs:
        return Needs(image=frozenset([depth.count]), unembedding=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        if not len(reading.image):
            return float("nan")
        rows = [reading.part("unembedding", int(reading.answer[t]), "unembedding of the word") for t in mention.tokens]
        direction = np.mean(np.array(rows, dtype=np.float64), axis=0)
        found = float(
            grounding(reading.patches(reading.depth.count), direction, patches(self.count, len(reading.image)))
        )
        if self.means:
            found -= self.means.get(mention.name, float(np.mean(list(self.means.values()))))
        return -found


def grounding(states: np.ndarray, direction: np.ndarray, count: int) -> float:
    """Mean of the `count` largest cosines of states `[P, D]` with a direction `[D]`."""
    return float(largest(cosines(states, direction), count).mean())
