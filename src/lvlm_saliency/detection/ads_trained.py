"""ADS and CGC of every layer, with a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.ads import ADS
from lvlm_saliency.detection.base import Depth, Needs
from lvlm_saliency.detection.cgc import CGC
from lvlm_saliency.detection.fitted import Cases, Trained, logistic_or_trees
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class ADSTrained(Trained):
    """ADS and CGC of every layer (64 numbers on LLaVA-1.5-7B) with boosted trees or logistic regression, whichever has
    the lower log loss in cross-validation over training pictures (the paper picks among three classifiers by F1).

    Paper: arXiv 2604.04863; code tuandung2812alt3/token-grounding-detector@3025708.
    """

    name: ClassVar[str] = "ads-trained"
    title: ClassVar[str] = "ADS and CGC of all layers, trained"
    paper: ClassVar[str] = "arXiv 2604.04863"

    def needs(self, depth: Depth) -> Needs:
        states = frozenset(layer + 1 for layer in depth.attention)
        return Needs(attention=frozenset(depth.attention), text=states, image=states, tiles=True)

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        layers, token = reading.depth.attention, self.token(mention)
        spread = ADS(where=self.where).by_layer(reading, token, layers)
        near = CGC(where=self.where).by_layer(reading, token, layers)
        return np.array([*spread.values(), *near.values()])

    def learn(self, cases: Cases, seed: int) -> Any:
        return logistic_or_trees(cases, seed)
