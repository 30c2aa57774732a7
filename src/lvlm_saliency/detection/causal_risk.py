"""The causal form of this package's risk: features of the forward pass that are known when the word is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Needs
from lvlm_saliency.detection.fitted import Cases, Trained, logistic_or_trees
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading
from lvlm_saliency.detection.self_check import answer_of

BEFORE = 2


@dataclass(frozen=True)
class CausalRisk(Trained):
    """Logistic regression or boosted trees (chosen by cross-validation) on what is known as soon as the word stands in
    the text, without a backward pass: `risk.signals.CAUSAL`.

    Log p and entropy of the word and of the two tokens before it; position; how often the token stood before; for each
    layer the head-averaged attention over earlier answer tokens, the one before, prompt, system and picture, and how
    far it is spread over the picture, at the state that predicts the word and at the word; entropy (of the 100 largest
    logits) after the word. `hidden` adds hidden states L / 2 and L at the word (as `probe`): no further pass, but more
    to capture. `asked` adds the model's answer to a question about the object (as `self-check`): a short pass for each.

    Ours. `risk` is the shipped one, which also reads saliency and the six tokens after the word.
    """

    name: ClassVar[str] = "causal-risk"
    title: ClassVar[str] = "risk as the word is written"
    paper: ClassVar[str] = "ours"
    places: ClassVar[tuple[str, ...]] = ("P and A",)

    where: str = "P and A"
    hidden: bool = False
    asked: bool = False

    def needs(self, depth: Depth) -> Needs:
        states = frozenset([depth.count // 2, depth.count]) if self.hidden else frozenset()
        extra = frozenset(["self-check"]) if self.asked else frozenset()
        return Needs(logits=True, attention=frozenset(depth.attention), text=states, extra=extra)

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        token = self.token(mention)
        log_p = reading.part("logprob", None, "log-probabilities")
        entropy = reading.part("entropy", None, "entropies")
        told = [
            value[token - back] if token >= back else np.nan for back in range(BEFORE + 1) for value in (log_p, entropy)
        ]
        behind = reading.part("surprise", None, "logits at the mentions' rows")[reading.index(token + 1), 0]
        answer = reading.answer
        again = np.log1p(int((answer[:token] == answer[token]).sum()))
        place = [token, np.log1p(token), again, behind]
        looks = [looked(reading, layer, token + step) for step in (0, 1) for layer in reading.depth.attention]
        states = []
        if self.hidden:
            states = [reading.state(i, token + 1) for i in (reading.depth.count // 2, reading.depth.count)]
        answers = [[answer_of(reading, mention)]] if self.asked else []
        return np.concatenate([told, place, *looks, *states, *answers])

    def learn(self, cases: Cases, seed: int) -> Any:
        return logistic_or_trees(cases, seed)


def looked(reading: Reading, layer: int, row: int) -> np.ndarray:
    """Of one row of head-averaged attention: log10 of its means over earlier answer tokens, the one before, the prompt
    after the picture, what stands before the picture, and the picture; entropy over the picture (0 to 1) and the
    largest share there. NaN where a region is empty."""
    weights = reading.attended(layer, row).mean(axis=0)
    first = int(reading.image.min()) if len(reading.image) else 0
    inside = np.zeros(len(weights), dtype=bool)
    inside[reading.image] = True
    keys = np.arange(len(weights))
    regions = (
        keys >= reading.prompt,
        (keys == len(weights) - 1) & (keys >= reading.prompt),
        (keys >= first) & (keys < reading.prompt) & ~inside,
        keys < first,
        inside,
    )
    means = [np.log10(weights[region].mean() + 1e-6) if region.any() else np.nan for region in regions]
    seen = weights[inside]
    if not len(seen) or seen.sum() <= 0:
        return np.array([*means, np.nan, np.nan])
    share = seen / seen.sum()
    spread = -(share * np.log(np.maximum(share, 1e-30))).sum() / np.log(max(len(share), 2))
    return np.array([*means, spread, share.max()])
