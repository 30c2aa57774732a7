"""SVAR: attention of the middle layers to the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class SVAR(Detector):
    """-SVAR, where VAR[l, h] = sum over the picture's tokens of the attention of head h and SVAR sums its mean over
    heads over layers 5 to 18 of 32 (released code `[5:19]`), both included, scaled to the model's depth.

    `first`, `last`: other layers of 32 (Shikra 3-13, MiniGPT-4 3-14; InsLen's copy reads 4-17). Of 32 layers the sum
    lies between 0 and 14.

    Paper: Jiang et al., Devils in middle layers of large vision-language models, CVPR 2025, arXiv 2411.16724; code
    ZhangqiJiang07/middle_layers_indicating_hallucinations.
    """

    name: ClassVar[str] = "svar"
    title: ClassVar[str] = "summed visual attention ratio"
    paper: ClassVar[str] = "arXiv 2411.16724"

    first: int = 5
    last: int = 18

    def needs(self, depth: Depth) -> Needs:
        return Needs(attention=frozenset(depth.layers(self.first, self.last)))

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        return -sum(self.ratios(reading, token).values()) if len(reading.image) else float("nan")

    def ratios(self, reading: Reading, token: int) -> dict[int, float]:
        """The mean of VAR over heads, by layer."""
        layers = reading.depth.layers(self.first, self.last)
        rows = {layer: reading.attended(layer, self.row(token)) for layer in layers}
        return {layer: float(row[:, reading.image].sum(axis=1).mean()) for layer, row in rows.items()}

    def parts_of(self, reading: Reading, mention: Mention) -> dict[str, Any]:
        return {"layers": self.ratios(reading, mention.start)}
