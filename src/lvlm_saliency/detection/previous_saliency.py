"""Previous saliency: how much the word depends on the one token before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.output_saliency import saliency
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class PreviousSaliency(Detector):
    """-mean over layers of the saliency on the token before (the paper's Table 4). NaN for the first token.

    Paper: arXiv 2601.20279.
    """

    name: ClassVar[str] = "previous-saliency"
    title: ClassVar[str] = "saliency on the token before"
    paper: ClassVar[str] = "arXiv 2601.20279"
    passes: ClassVar[str] = "a backward pass"
    places: ClassVar[tuple[str, ...]] = ("P",)

    def needs(self, depth: Depth) -> Needs:
        return Needs(gradient=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        return -saliency(reading, "previous", token)
