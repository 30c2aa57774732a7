"""Lookback Lens: a linear classifier on the lookback ratios of all heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Needs
from lvlm_saliency.detection.fitted import Cases, Trained, logistic
from lvlm_saliency.detection.lookback import Lookback
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class LookbackTrained(Trained):
    """Logistic regression on the L x H lookback ratios of `lookback` (picture against what is after it).

    The paper averages them over a span of text; here they are of the word's token.

    Paper: Chuang et al., Lookback Lens, EMNLP 2024, arXiv 2407.07071; code voidism/Lookback-Lens@f2846ef.
    """

    name: ClassVar[str] = "lookback-trained"
    title: ClassVar[str] = "Lookback Lens"
    paper: ClassVar[str] = "arXiv 2407.07071"

    def needs(self, depth: Depth) -> Needs:
        return Lookback().needs(depth)

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        return Lookback(where=self.where).ratios(reading, self.token(mention)).ravel()

    def learn(self, cases: Cases, seed: int) -> Any:
        return logistic(cases, seed)
