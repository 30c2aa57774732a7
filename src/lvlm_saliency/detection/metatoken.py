"""MetaToken-like: position, logits and attention to the picture, with a linear classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Needs
from lvlm_saliency.detection.fitted import Cases, Trained, logistic
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class MetaToken(Trained):
    """Logistic regression on position, occurrence, log p, the sum of log p so far, entropy, margin, and the attention
    of the last layer's heads to the picture.

    The features follow descriptions of the paper, not its text: hence "like".

    Paper: MetaToken, arXiv 2405.19186.
    """

    name: ClassVar[str] = "metatoken"
    title: ClassVar[str] = "position, logits and attention, trained (MetaToken-like)"
    paper: ClassVar[str] = "arXiv 2405.19186"

    def needs(self, depth: Depth) -> Needs:
        return Needs(logits=True, attention=frozenset([depth.attention[-1]]), heads=True)

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        token = self.token(mention)
        log_p = reading.part("logprob", None, "log-probabilities")
        entropy, margin = reading.part("entropy", None, "entropies"), reading.part("margin", None, "margins")
        seen = reading.headwise(reading.depth.attention[-1], self.row(token))[:, reading.image].sum(axis=1)
        told = [token, np.log1p(token), mention.occurrence, log_p[token], log_p[: token + 1].sum()]
        return np.array([*told, entropy[token], margin[token], *seen])

    def learn(self, cases: Cases, seed: int) -> Any:
        return logistic(cases, seed)
