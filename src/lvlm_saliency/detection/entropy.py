"""Entropy of the distribution that the word was drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class Entropy(Detector):
    """-sum_v p(v) log p(v) over the vocabulary at the state that predicts the word, nats.

    Paper: Malinin and Gales, Uncertainty estimation in autoregressive structured prediction, arXiv 2002.07650. Some
    code divides by log V; the ranking is the same.
    """

    name: ClassVar[str] = "entropy"
    title: ClassVar[str] = "entropy of the next token"
    paper: ClassVar[str] = "arXiv 2002.07650"
    places: ClassVar[tuple[str, ...]] = ("P",)

    def needs(self, depth: Depth) -> Needs:
        return Needs(logits=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        return float(reading.part("entropy", None, "entropies")[token])
