"""Blank picture: how much less probable the word is without the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class BlankPicture(Detector):
    """-(log p(y_t | picture) - log p(y_t | a picture of the processor's mean colour)), nats. mode="divergence":
    -KL(p with the picture || p without), of the whole distribution.

    Paper: the pointwise mutual information with the picture, as in PAS's D_MI (arXiv 2511.11502), which averages over
    reference pictures; one blank picture here.
    """

    name: ClassVar[str] = "blank-picture"
    title: ClassVar[str] = "log ratio to a blank picture"
    paper: ClassVar[str] = "arXiv 2511.11502"
    passes: ClassVar[str] = "one pass with a blank picture"
    places: ClassVar[tuple[str, ...]] = ("P",)

    mode: str = "log_ratio"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("mode", ("log_ratio", "divergence"))

    def needs(self, depth: Depth) -> Needs:
        return Needs(extra=frozenset(["blank picture"]))

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        if not len(reading.image):
            return float("nan")
        return -float(reading.part("extra", "blank picture", "pass with a blank picture")[self.mode][token])
