"""The causal risk with hidden states, of the word and of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Needs, patches
from lvlm_saliency.detection.causal_risk import CausalRisk
from lvlm_saliency.detection.fitted import Cases, Trained, logistic_or_trees
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading

TOP = 27
"""Of 576 patches: how many of the largest values are averaged."""


@dataclass(frozen=True)
class GroundedRisk(Trained):
    """Logistic regression or boosted trees (chosen by cross-validation) on what `causal-risk` reads with hidden states,
    and on what the picture's states L / 2 and L say of the word.

    Of each of these hidden states i: over the picture's tokens, the log-probability of the word's first token under the
    lens (softmax(W h_i), as in `internal-confidence`), and the cosine with the word's own state i at P and at A (as in
    `cgc`), each as its largest value, the mean of its 27 (of 576) largest, and its mean; and the mean of that
    log-probability weighted by the head-averaged attention of block i over the picture, at P and at A.

    Ours. A probe says what the model takes itself to see; the picture's states, whether a patch speaks for it.
    """

    name: ClassVar[str] = "grounded-risk"
    title: ClassVar[str] = "risk of the word beside the picture's states"
    paper: ClassVar[str] = "ours"
    places: ClassVar[tuple[str, ...]] = ("P and A",)

    where: str = "P and A"

    def needs(self, depth: Depth) -> Needs:
        states = frozenset(_states(depth))
        seen = Needs(text=states, image=states, image_lens=frozenset((index, 1.0) for index in states))
        return CausalRisk(hidden=True).needs(depth) | seen

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        told = CausalRisk(hidden=True, subtokens=self.subtokens).features(reading, mention)
        token = self.token(mention)
        seen = [said(reading, index, token) for index in _states(reading.depth)]
        return np.concatenate([told, *seen])

    def learn(self, cases: Cases, seed: int) -> Any:
        return logistic_or_trees(cases, seed)


def _states(depth: Depth) -> tuple[int, int]:
    return depth.count // 2, depth.count


def said(reading: Reading, index: int, token: int) -> np.ndarray:
    """What hidden state `index` of the picture says of a token, float64 `[11]`; NaN without a picture."""
    count = len(reading.image)
    if not count:
        return np.full(11, np.nan)
    lens = reading.part("image_lens", (index, 1.0), f"lens of hidden state {index}").log_p(int(reading.answer[token]))
    if lens is None:
        lens = np.full(count, np.nan)
    seen = reading.patches(index)
    size = np.linalg.norm(seen, axis=1)
    found = [*_summary(lens)]
    layer = min(reading.depth.attention, key=lambda one: (abs(one - (index - 1)), one))
    weighted = []
    for row in (token, token + 1):
        state = reading.state(index, row)
        found += _summary(seen @ state / np.maximum(size * np.linalg.norm(state), 1e-12))
        weights = reading.attended(layer, row).mean(axis=0)[reading.image]
        weighted.append(float(weights @ lens / max(weights.sum(), 1e-12)))
    return np.array([*found, *weighted], dtype=np.float64)


def _summary(values: np.ndarray) -> Sequence[float]:
    ordered = np.sort(values)[::-1].astype(np.float64)
    return ordered[0], ordered[: patches(TOP, len(ordered))].mean(), ordered.mean()
