"""Image saliency: what the word depends on in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.detection.output_saliency import RegionSaliency


@dataclass(frozen=True)
class ImageSaliency(RegionSaliency):
    """-mean over layers of the mean saliency on the picture's tokens. Not in the paper, which leaves the picture out.
    NaN without a picture.
    """

    name: ClassVar[str] = "image-saliency"
    title: ClassVar[str] = "saliency on the picture"
    paper: ClassVar[str] = "ours"
    region: ClassVar[str] = "image"
