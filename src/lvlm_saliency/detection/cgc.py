"""CGC: whether any part of the picture looks like the word's state, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.geometry import cosines, largest
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class CGC(Detector):
    """-mean over layers [.25 L, .75 L) of the mean of the top 5 % cosines between the word's state and the picture's
    states after the same layer.

    The released class takes 5 patches by default; the paper's runs take 5 % (29 of 576), which is the default here.
    `count` sets a fixed number.

    Paper: as ADS, arXiv 2604.04863; code tuandung2812alt3/token-grounding-detector@3025708.
    """

    name: ClassVar[str] = "cgc"
    title: ClassVar[str] = "cross-modal grounding consistency"
    paper: ClassVar[str] = "arXiv 2604.04863"

    share: float = 0.05
    count: int | None = None

    def needs(self, depth: Depth) -> Needs:
        states = frozenset(layer + 1 for layer in depth.middle())
        return Needs(text=states, image=states)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        return -float(np.mean(list(self.by_layer(reading, token).values())))

    def by_layer(self, reading: Reading, token: int, layers: Sequence[int] | None = None) -> dict[int, float]:
        """The mean of the top cosines behind each layer."""
        layers = reading.depth.middle() if layers is None else layers
        if not len(reading.image):
            return dict.fromkeys(layers, float("nan"))
        taken = self.count or max(1, round(self.share * len(reading.image)))
        row = self.row(token)
        return {
            layer: float(largest(cosines(reading.patches(layer + 1), reading.state(layer + 1, row)), taken).mean())
            for layer in layers
        }

    def parts_of(self, reading: Reading, mention: Mention) -> dict[str, Any]:
        return {"layers": self.by_layer(reading, mention.start)}
