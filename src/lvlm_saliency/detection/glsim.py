"""GLSim: the word's state against the prompt's last state and against the patches that read as the word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Detector, Needs, patches
from lvlm_saliency.detection.geometry import cosine, cosines, top
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class GLSim(Detector):
    """-(w cos(q, h) + (1 - w) mean over the top K patches of cos(v_i, h)), w = .6, K = 32 of 576; the patches are those
    whose softmax(W v_i) gives the word's first token the most.

    The paper reads picture and prompt at hidden state l = 32 and the word at l' = 31. mode="paper": q and v_i of state
    32, h of state 31. mode="official_code" (default: the figures are its): the local part as in the paper, but the
    global part takes q of state 31 and h of state 32. State 32 is after the final norm and 31 is not.

    Paper: Park and Li, GLSim, NeurIPS 2025, arXiv 2508.19972; code deeplearning-wisc/glsim@9f97d5f.
    """

    name: ClassVar[str] = "glsim"
    title: ClassVar[str] = "global and local similarity"
    paper: ClassVar[str] = "arXiv 2508.19972"

    weight: float = 0.6
    count: int = 32
    mode: str = "official_code"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("mode", ("official_code", "paper"))

    def needs(self, depth: Depth) -> Needs:
        late, last = depth.hidden(31), depth.hidden(32)
        late = min(late, last - 1)
        return Needs(text=frozenset([late, last]), image=frozenset([last]), image_lens=frozenset([(last, 1.0)]))

    def parts(self, reading: Reading, token: int) -> dict[str, float]:
        """The global and the local similarity."""
        last = reading.depth.hidden(32)
        late = min(reading.depth.hidden(31), last - 1)
        row = self.row(token)
        question, word = (late, last) if self.mode == "official_code" else (last, late)
        found = {"global": cosine(reading.state(question, 0), reading.state(word, row)), "local": float("nan")}
        if not len(reading.image):
            return found
        lens = reading.part("image_lens", (last, 1.0), "lens of the picture's last state")
        log_p = lens.log_p(int(reading.answer[token]))
        if log_p is not None:
            chosen = top(log_p, patches(self.count, len(reading.image)))
            near = cosines(reading.patches(last)[chosen], reading.state(late, row))
            found["local"] = float(np.mean(near))
        return found

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        parts = self.parts(reading, token)
        return -(self.weight * parts["global"] + (1 - self.weight) * parts["local"])

    def parts_of(self, reading: Reading, mention: Mention) -> dict[str, Any]:
        return dict(self.parts(reading, mention.start))
