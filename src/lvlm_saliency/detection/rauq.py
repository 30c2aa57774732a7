"""RAUQ: token confidence propagated through the head that attends to the previous token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading
from lvlm_saliency.errors import SettingError


@dataclass(frozen=True)
class RAUQ(Detector):
    """In each layer l the head h with the largest mean attention to the previous token propagates confidence:
    c_0 = p_0, c_t = alpha p_t + (1 - alpha) a_t c_{t-1}; the risk of token t is max_l -log c_t.

    `sequence` gives the published score of a whole text, max_l (1 - mean_t log c_t) in the released code. The form per
    token is ours: the papers score whole answers. The layers are L // 3 to ceil(2 L / 3), both included.

    The released code pairs token t with the attention of the state that predicts it, y_{t-1}, to y_{t-1} itself
    (`where="P"`); the paper writes the attention of y_t to y_{t-1} (`where="A"`). The head is chosen on the whole
    answer, so the score of a word changes with what follows: not causal. mode="entropy" replaces p_t by
    log(log V - H_t + 1e-10) on the log scale, as the code does.

    Paper: RAUQ, arXiv 2505.20045; code IINemo/lm-polygraph@efea882.
    """

    name: ClassVar[str] = "rauq"
    title: ClassVar[str] = "recurrent attention-based uncertainty"
    paper: ClassVar[str] = "arXiv 2505.20045"
    causal: ClassVar[bool] = False

    alpha: float = 0.2
    mode: str = "log_probability"
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("mode", ("log_probability", "entropy"))
        if not 0 <= self.alpha <= 1:
            raise SettingError(f"rauq: alpha must be from 0 to 1, not {self.alpha!r}")
        if self.mode == "entropy" and not self.vocabulary:
            raise SettingError("rauq: mode='entropy' needs vocabulary=, the number of tokens that the model knows")

    def layers(self, depth: Depth) -> tuple[int, ...]:
        """The layers that count."""
        last = math.ceil(2 * depth.count / 3)
        inside = tuple(layer for layer in depth.attention if depth.count // 3 <= layer <= last)
        return inside or depth.attention

    def needs(self, depth: Depth) -> Needs:
        return Needs(logits=True, heads=True, chain=frozenset(self.layers(depth)))

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        return -float(self._carried(reading)[:, token].min())

    def sequence(self, reading: Reading) -> float:
        """The published score of the whole answer."""
        return float((1 - self._carried(reading).mean(axis=1)).max())

    def _carried(self, reading: Reading) -> np.ndarray:
        """log c, `[layers, T]`."""
        own = reading.part("logprob", None, "log-probabilities")
        if self.mode == "entropy":
            entropy = reading.part("entropy", None, "entropies")
            own = np.log(np.maximum(math.log(self.vocabulary or 0) - entropy, 0) + 1e-10)
        found = []
        for layer in self.layers(reading.depth):
            heads, count = (
                reading.part("chain", layer, f"attention of layer {layer} to the token before"),
                reading.count,
            )
            # Row t at P stands on y_{t-1}: its own position. Row t + 1 stands on y_t: the position before.
            looks = heads[:, 0, :count] if self.where == "P" else heads[:, 1, 1:]
            looks = looks.astype(np.float64)
            head = looks[int(looks[:, 1:].sum(axis=1).argmax())] if count > 1 else looks[0]
            log_c = np.empty(count)
            log_c[0] = own[0]
            for t in range(1, count):
                before = (
                    math.log((1 - self.alpha) * head[t]) + log_c[t - 1] if (1 - self.alpha) * head[t] > 0 else -np.inf
                )
                mine = math.log(self.alpha) + own[t] if self.alpha > 0 else -np.inf
                log_c[t] = np.logaddexp(mine, before)
            found.append(log_c)
        return np.array(found)
