"""The perceptron on visual attention ratios of the middle layers' heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Needs
from lvlm_saliency.detection.fitted import Cases, Trained, perceptron
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class SVARTrained(Trained):
    """A perceptron (one hidden layer of 128) on the VAR of every head of layers 5 to 18 of 32: 448 numbers on
    LLaVA-1.5-7B. The paper splits by mention and reports the best of 36 settings on its test words; here pictures are
    split and nothing is chosen.

    Paper: Jiang et al., CVPR 2025, arXiv 2411.16724 (called DIML elsewhere); code
    ZhangqiJiang07/middle_layers_indicating_hallucinations, train.py.
    """

    name: ClassVar[str] = "svar-trained"
    title: ClassVar[str] = "perceptron on visual attention ratios"
    paper: ClassVar[str] = "arXiv 2411.16724"

    first: int = 5
    last: int = 18
    epochs: int = 60

    def needs(self, depth: Depth) -> Needs:
        return Needs(attention=frozenset(depth.layers(self.first, self.last)), heads=True)

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        layers, row = reading.depth.layers(self.first, self.last), self.row(self.token(mention))
        found = np.concatenate([reading.headwise(layer, row)[:, reading.image].sum(axis=1) for layer in layers])
        return found if len(reading.image) else np.full(len(found), np.nan)

    def learn(self, cases: Cases, seed: int) -> Any:
        return perceptron(cases.values, cases.y, seed, (128,), self.epochs)
