"""ContextualLens: the patch whose middle state is nearest to the word's late state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.geometry import cosines
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class ContextualLens(Detector):
    """-max_i cos(h, v_i): the picture at hidden state 13 and the word at 27, of 32, scaled.

    Published for whole answers, as the cosine with the mean of all answer states. For a word it is the state at the
    word alone, as in VisER's tables (subtokens="mean" takes the mean of the scores of its tokens). The layers are those
    of third-party code; the official code was not found.

    Paper: Phukan et al., Beyond logit lens: contextual embeddings, NAACL 2025, arXiv 2411.19187.
    """

    name: ClassVar[str] = "contextual-lens"
    title: ClassVar[str] = "contextual lens"
    paper: ClassVar[str] = "arXiv 2411.19187"

    image_state: int = 13
    text_state: int = 27
    where: str = field(default="A", kw_only=True)

    def needs(self, depth: Depth) -> Needs:
        return Needs(text=frozenset([depth.hidden(self.text_state)]), image=frozenset([depth.hidden(self.image_state)]))

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        if not len(reading.image):
            return float("nan")
        word = reading.state(reading.depth.hidden(self.text_state), self.row(token))
        return -float(cosines(reading.patches(reading.depth.hidden(self.image_state)), word).max())
