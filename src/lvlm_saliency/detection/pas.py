"""PAS: how much the first layer attends to what was written before the word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class PAS(Detector):
    """mean over heads of sum_j A[layer, h, k, j] over the answer's tokens j before the word: the "preliminary" ones.

    The paper's formula leaves open which row k is. At `where="P"` it is the state that predicts the word, whose own
    token is the last of them; at "A" the word's own state, without itself. Before the first token the sum is empty: 0.
    The sum grows with the text's length; mode="per_token" divides by its share of the keys (uniform attention gives 1),
    a control against position. Layer 0 of the model is read, not scaled.

    Paper: PAS, CVPR 2026, arXiv 2511.11502 (from summaries with its equations; no code was available).
    """

    name: ClassVar[str] = "pas"
    title: ClassVar[str] = "preliminary attention score"
    paper: ClassVar[str] = "arXiv 2511.11502"

    layer: int = 0
    mode: str = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("mode", ("sum", "per_token"))

    def needs(self, depth: Depth) -> Needs:
        return Needs(attention=frozenset([self._layer(depth)]))

    def _layer(self, depth: Depth) -> int:
        return min(depth.attention, key=lambda layer: (abs(layer - self.layer), layer))

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        row = reading.attended(self._layer(reading.depth), self.row(token))
        found = float(row[:, reading.prompt : reading.prompt + token].sum(axis=1).mean())
        if self.mode == "sum":
            return found
        return found * row.shape[1] / token if token else float("nan")
