"""How far the word's token lies above the best other token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class Margin(Detector):
    """log p(best other token) - log p(y_t), nats: negative where y_t was the most probable, and higher the more
    probable the other token was.

    Paper: the margin of active learning (Scheffer et al. 2001), in log space; MetaToken (arXiv 2405.19186) has it among
    its features.
    """

    name: ClassVar[str] = "margin"
    title: ClassVar[str] = "margin to the best other token"
    paper: ClassVar[str] = "arXiv 2405.19186"
    places: ClassVar[tuple[str, ...]] = ("P",)

    def needs(self, depth: Depth) -> Needs:
        return Needs(logits=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        return -float(reading.part("margin", None, "margins to the best other token")[token])
