"""Output saliency: how much the word depends on the answer's earlier tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading
from lvlm_saliency.errors import SettingError


@dataclass(frozen=True)
class RegionSaliency(Detector):
    """-mean over layers of the mean saliency |A x dL/dA| (rows of unit length) on `region`."""

    region: ClassVar[str]
    passes: ClassVar[str] = "a backward pass"
    places: ClassVar[tuple[str, ...]] = ("P",)

    def needs(self, depth: Depth) -> Needs:
        return Needs(gradient=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        return -saliency(reading, self.region, token)


@dataclass(frozen=True)
class OutputSaliency(RegionSaliency):
    """-mean over layers of the mean saliency |A x dL/dA| (rows of unit length) on earlier answer tokens: the paper's S
    (Eq. 6), low where a word is hallucinated. NaN for the first token of an answer.

    Paper: arXiv 2601.20279.
    """

    name: ClassVar[str] = "output-saliency"
    title: ClassVar[str] = "saliency on earlier answer tokens"
    paper: ClassVar[str] = "arXiv 2601.20279"
    region: ClassVar[str] = "output"


def saliency(reading: Reading, region: str, token: int) -> float:
    """Mean saliency of a token over a region, from the reading's trace.

    Raises:
        SettingError: it has none.
    """
    if reading.trace is None:
        raise SettingError("saliency needs a trace: pass one, or make the reading with this detector's name")
    if region not in reading.scores:
        reading.scores[region] = reading.trace.scores(region)[reading.sample].double().numpy()
    return float(reading.scores[region][token])
