"""Image saliency: what the word depends on in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.output_saliency import saliency
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class ImageSaliency(Detector):
    """-mean over layers of the mean saliency on the picture's tokens. Not in the paper, which leaves the picture out.
    NaN without a picture.
    """

    name: ClassVar[str] = "image-saliency"
    title: ClassVar[str] = "saliency on the picture"
    paper: ClassVar[str] = "ours"
    passes: ClassVar[str] = "a backward pass"
    places: ClassVar[tuple[str, ...]] = ("P",)

    def needs(self, depth: Depth) -> Needs:
        return Needs(gradient=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        return -saliency(reading, "image", token)
