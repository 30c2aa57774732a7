"""InsLen: whether the instruction's own tokens, and the patches, read as the word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Detector, Needs, patches
from lvlm_saliency.detection.geometry import cosines, top
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class InsLen(Detector):
    """-((1 - w) local + w context), w = .4, with P = softmax(.1 W h) over the prompt's tokens after the picture,
    states 22 of 32:

    local = max P[word] x mean over the top 32 (of 576) patches of cos(word's state 32, patch's state 24), patches
    chosen by softmax(.1 W v)[word]; context = (bias - |h - c| / |h|) x mean of the 4 largest P[word], with h the word's
    state 32 and c the mean of these 4 tokens' states 22. The factor .1 is a temperature of 10.

    In the released code the first token of an answer is read at the last step (index -1); here at its own.
    `bias` is 2 for LLaVA and 4 for InternVL in that code.

    Paper: Instruction Lens Score, ICML 2026, arXiv 2605.12258; code Fraserlairh/Instruction-Lens-Score@5a11810.
    """

    name: ClassVar[str] = "inslen"
    title: ClassVar[str] = "instruction lens score"
    paper: ClassVar[str] = "arXiv 2605.12258"

    weight: float = 0.4
    bias: float = 2.0
    count: int = 32
    scale: float = 0.1

    def needs(self, depth: Depth) -> Needs:
        told, seen = depth.hidden(22), depth.hidden(24)
        return Needs(
            text=frozenset([depth.hidden(32)]),
            image=frozenset([seen]),
            image_lens=frozenset([(seen, self.scale)]),
            prompt=frozenset([told]),
            prompt_lens=frozenset([(told, self.scale)]),
        )

    def parts(self, reading: Reading, token: int) -> dict[str, float]:
        """Local and context parts."""
        depth, word = reading.depth, int(reading.answer[token])
        told, seen = depth.hidden(22), depth.hidden(24)
        state = reading.state(depth.hidden(32), self.row(token))
        prompt = reading.part("prompt_lens", (told, self.scale), "lens of the prompt").log_p(word)
        image = reading.part("image_lens", (seen, self.scale), f"lens of the picture's state {seen}").log_p(word)
        if prompt is None or image is None or not len(prompt) or not len(image):
            return {"local": float("nan"), "context": float("nan")}
        share = np.exp(prompt.astype(np.float64))
        chosen = top(image, patches(self.count, len(image)))
        near = float(cosines(reading.patches(seen)[chosen], state).mean())
        few = top(share, 4)
        states = reading.part("prompt_states", told, f"hidden state {told} of the prompt")[few].astype(np.float64)
        away = np.linalg.norm(state - states.mean(axis=0)) / np.linalg.norm(state)
        return {"local": float(share.max()) * near, "context": float((self.bias - away) * share[few].mean())}

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        parts = self.parts(reading, token)
        return -((1 - self.weight) * parts["local"] + self.weight * parts["context"])

    def parts_of(self, reading: Reading, mention: Mention) -> dict[str, Any]:
        return dict(self.parts(reading, mention.start))
