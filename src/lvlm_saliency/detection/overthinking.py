"""Overthinking: how often the most probable next token changes from layer to layer, and the layers' entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class Overthinking(Detector):
    """(number of distinct top tokens over the layers / L) x mean entropy of the layers, from the lens with the model's
    final norm (which the last state already has).

    The paper's classifier over layer entropies, attention and whether the word is repeated is `overthinking-trained`.
    Entropies in float32: the released code makes them in the model's dtype.

    Paper: Overthinking, CVPR 2026 Findings, arXiv 2603.07619; code abinshoby/Overthinking@6ff6877.
    """

    name: ClassVar[str] = "overthinking"
    title: ClassVar[str] = "overthinking score"
    paper: ClassVar[str] = "arXiv 2603.07619"

    def needs(self, depth: Depth) -> Needs:
        return Needs(text_lens=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        top, entropy = self._lens(reading, token)
        return len(set(top)) / len(top) * float(sum(entropy)) / len(entropy)

    def _lens(self, reading: Reading, token: int) -> tuple[list[int], list[float]]:
        at = reading.index(self.row(token))
        top = reading.part("text_top", None, "lens of every layer")[at]
        return top.tolist(), reading.part("text_entropy", None, "lens of every layer")[at].tolist()

    def parts_of(self, reading: Reading, mention: Mention) -> dict[str, Any]:
        top, entropy = self._lens(reading, mention.start)
        return {"top": top, "entropy": entropy}
