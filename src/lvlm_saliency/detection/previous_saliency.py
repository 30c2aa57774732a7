"""Previous saliency: how much the word depends on the one token before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.detection.output_saliency import RegionSaliency


@dataclass(frozen=True)
class PreviousSaliency(RegionSaliency):
    """-mean over layers of the saliency on the token before (the paper's Table 4). NaN for the first token.

    Paper: arXiv 2601.20279.
    """

    name: ClassVar[str] = "previous-saliency"
    title: ClassVar[str] = "saliency on the token before"
    paper: ClassVar[str] = "arXiv 2601.20279"
    region: ClassVar[str] = "previous"
