"""Lens cosine: similarity of the picture's last states to the word's rows of the unembedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from lvlm_saliency.detection.base import Depth, Needs, patches
from lvlm_saliency.detection.fitted import Cases, Fittable
from lvlm_saliency.detection.geometry import cosines, largest
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class LensCosine(Fittable):
    """-mean of the 10 (of 576, scaled) largest cosines between the picture's last hidden states, after the final norm
    once, and the mean of the unembedding rows of the word's tokens.

    With `means` (class name to the mean of that cosine over calibration pictures) the mean of the class is subtracted;
    of an unknown class, the mean of all means. `fitted(cases)` computes them, and `study detect` shows both forms. The
    released code applies the final norm a second time to a state that already has it; that is not done here.

    Source: peter-scitix/lvlm-hallucination-grounding@0f3006d (`gc`); no paper.
    """

    name: ClassVar[str] = "lens-cosine"
    title: ClassVar[str] = "cosine of picture states with the word's unembedding"
    paper: ClassVar[str] = "code only"
    places: ClassVar[tuple[str, ...]] = ("image",)
    granularity: ClassVar[str] = "word"

    where: str = field(default="image", kw_only=True)
    count: int = 10
    means: Mapping[str, float] | None = None

    def needs(self, depth: Depth) -> Needs:
        return Needs(image=frozenset([depth.count]), unembedding=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        return float(self.risks(self.features(reading, mention)[None], np.array([mention.name]))[0])

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        if not len(reading.image):
            return np.array([np.nan])
        rows = [reading.part("unembedding", int(reading.answer[t]), "unembedding of the word") for t in mention.tokens]
        direction = np.mean(np.array(rows, dtype=np.float64), axis=0)
        count = patches(self.count, len(reading.image))
        return np.array([grounding(reading.patches(reading.depth.count), direction, count)])

    def fitted(self, cases: Cases, seed: int = 0) -> Self:
        known = cases.take(np.isfinite(cases.values[:, 0]))
        means = {str(name): float(known.values[known.names == name, 0].mean()) for name in set(known.names)}
        return replace(self, means=means)

    def risks(self, values: np.ndarray, names: np.ndarray) -> np.ndarray:
        if not self.means:
            return -values[:, 0]
        rest = float(np.mean(list(self.means.values())))
        return -(values[:, 0] - np.array([self.means.get(name, rest) for name in names]))


def grounding(states: np.ndarray, direction: np.ndarray, count: int) -> float:
    """Mean of the `count` largest cosines of states `[P, D]` with a direction `[D]`."""
    return float(largest(cosines(states, direction), count).mean())
