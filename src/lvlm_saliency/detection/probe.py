"""Hidden-state probe: a linear classifier on two states of the word."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Needs
from lvlm_saliency.detection.fitted import Cases, Trained, logistic
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class Probe(Trained):
    """Logistic regression on hidden states L / 2 and L (after the final norm), at the word (`where="A"`) or at the
    state that predicts it ("P").

    Paper: like SAPLMA (Azaria and Mitchell, arXiv 2304.13734), which trains a perceptron on one layer of a statement's
    last token.
    """

    name: ClassVar[str] = "probe"
    title: ClassVar[str] = "probe of hidden states"
    paper: ClassVar[str] = "arXiv 2304.13734"

    where: str = field(default="A", kw_only=True)

    def needs(self, depth: Depth) -> Needs:
        return Needs(text=frozenset(self._states(depth)))

    @staticmethod
    def _states(depth: Depth) -> tuple[int, int]:
        return depth.count // 2, depth.count

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        row = self.row(self.token(mention))
        return np.concatenate([reading.state(index, row) for index in self._states(reading.depth)])

    def learn(self, cases: Cases, seed: int) -> Any:
        return logistic(cases, seed)
