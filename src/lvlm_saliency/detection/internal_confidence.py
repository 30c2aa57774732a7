"""Internal confidence: whether any picture token, at any layer, reads as the word."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import LensOf, Reading


@dataclass(frozen=True)
class InternalConfidence(Detector):
    """-max over layers and picture tokens of softmax(W h)[word], with W the unembedding; only the last state goes
    through the final norm.

    mode="official_code": only the 50 most probable tokens of each place keep their probability, renormalised, others
    have exactly 0 (a top-k warper was left in); embeddings count as layer 0; of the word's subtokens the most confident
    counts (subtokens="min" of the risk, the default), so a common piece of a word may fire for it. mode="plain": the
    whole softmax, as GLSim's and VisER's tables take it, with subtokens="first". Where input and output embeddings are
    tied, layer 0 reads back its own input and is left out.

    Paper: Jiang et al., Interpreting and editing vision-language representations, ICLR 2025, arXiv 2410.02762; code
    nickjiang2378/vl-interp@5cd5a3c.
    """

    name: ClassVar[str] = "internal-confidence"
    title: ClassVar[str] = "internal confidence"
    paper: ClassVar[str] = "arXiv 2410.02762"
    places: ClassVar[tuple[str, ...]] = ("image",)

    mode: str = "official_code"
    where: str = field(default="image", kw_only=True)
    subtokens: str = field(default="min", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("mode", ("official_code", "plain"))

    def needs(self, depth: Depth) -> Needs:
        return Needs(image_lens=frozenset((index, 1.0) for index in range(depth.count + 1)))

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        if not len(reading.image):
            return float("nan")
        word = int(reading.answer[token])
        first = 1 if reading.tied else 0
        found = []
        for index in range(first, reading.depth.count + 1):
            lens = reading.part("image_lens", (index, 1.0), f"lens of hidden state {index} of the picture")
            found.append(confidence(lens, word, self.mode))
        return -float(np.max(found))


def confidence(lens: LensOf, token: int, mode: str) -> np.ndarray:
    """The probability of a token at each place, float64 `[P]`."""
    logits = lens.of(token)
    if logits is None:
        return np.full(len(lens.size), np.nan)
    if mode == "plain":
        return np.exp(logits.astype(np.float64) - lens.size)
    return np.where(logits >= lens.least, np.exp(logits.astype(np.float64) - lens.kept), 0.0)
