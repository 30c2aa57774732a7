"""The causal form of this package's risk: features of the forward pass that are known when the word is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Needs, located_in
from lvlm_saliency.detection.fitted import Cases, Trained, logistic_or_trees
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading
from lvlm_saliency.detection.risk import OfRiskModel
from lvlm_saliency.detection.self_check import answer_of
from lvlm_saliency.errors import SettingError

BEFORE = 2
SHARES, LOOKED = 5, 7
"""Of what `looked` says of a row: shares of regions; all of it."""


@dataclass(frozen=True)
class CausalRisk(OfRiskModel, Trained):
    """Logistic regression or boosted trees (chosen by cross-validation) on what is known as soon as the word stands in
    the text, without a backward pass: `risk.signals.CAUSAL`.

    Log p and entropy of the word and of the two tokens before it; position; how often the token stood before; for each
    layer the head-averaged attention over earlier answer tokens, the one before, prompt, system and picture, and how
    far it is spread over the picture, at the state that predicts the word and at the word; entropy (of the 100 largest
    logits) after the word. `hidden` adds hidden states L / 2 and L at the word (as `probe`): no further pass, but more
    to capture. `asked` adds the model's answer to a question about the object (as `self-check`): a short pass for each.

    Ours. Until it is `fitted`, it is the risk model `model` (a `RiskModel` of causal features, or the path of one, as
    `guard calibrate` writes it), and its score a calibrated probability; by default the one that ships for the scenes
    model, which is the guard's. That one knows neither `hidden` nor `asked`. `risk` also reads saliency and the six
    tokens after the word.
    """

    name: ClassVar[str] = "causal-risk"
    title: ClassVar[str] = "risk as the word is written"
    paper: ClassVar[str] = "ours"
    places: ClassVar[tuple[str, ...]] = ("P and A",)

    where: str = "P and A"
    hidden: bool = False
    asked: bool = False
    model: Any = field(default=None, kw_only=True, repr=False, compare=False)

    @property
    def ready(self) -> bool:
        return self.weights is not None or not (self.hidden or self.asked)

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

    def score(self, source: Any, mention: Mention) -> float:
        if self.weights is not None or not self.ready:
            return super().score(source, mention)
        found = located_in(source, mention)
        if found is None:
            return float("nan")
        reading, mention = found
        ships = self.risk_model()
        if reading.architecture is None:
            raise SettingError(
                "causal-risk has been fitted for one model, and this reading does not say of which it is: make it with "
                "lvlm_saliency.reading, or fit it: fitted(cases)"
            )
        ships.check_fits(reading.architecture)
        values = self._grouped(reading, mention, ships)
        return float(ships.probability(values[None].astype(np.float32))[0])

    def judges(self, reading: Reading, mention: Mention) -> bool:
        return self.weights is not None or super().judges(reading, mention)

    @classmethod
    def shipped_file(cls) -> Path:
        from lvlm_saliency.risk.model import SHIPPED_CAUSAL

        return SHIPPED_CAUSAL

    def _grouped(self, reading: Reading, mention: Mention, ships: Any) -> np.ndarray:
        """The features in the order of a risk model's groups, of the layers that it reads.

        Raises:
            SettingError: the risk model reads what a word does not have as it is written.
        """
        token = self.token(mention)
        told, layers = self.features(reading, mention), reading.depth.attention
        first = 2 * (BEFORE + 1) + 4
        looks = told[first : first + 2 * len(layers) * LOOKED].reshape(2, len(layers), LOOKED)
        looks = looks[:, [layers.index(layer) for layer in ships.layers]]
        entropy = reading.part("entropy", None, "entropies")
        behind = entropy[token + 1] if token + 1 < len(entropy) else told[first - 1]
        groups = {
            "log-probability": told[:1],
            "entropy": told[1:2],
            "position": told[first - 4 : first - 2],
            "repetition": told[first - 2 : first - 1],
            "attention": looks[0, :, :SHARES],
            "attention concentration": looks[0, :, SHARES:],
            "words before": told[2 : 2 * (BEFORE + 1)].reshape(BEFORE, 2)[::-1],
            "attention, at": looks[1, :, :SHARES],
            "attention concentration, at": looks[1, :, SHARES:],
            "entropy, at": np.array([behind]),
        }
        if late := [name for name in ships.groups if name not in groups]:
            raise SettingError(f"causal-risk: the risk model reads {', '.join(late)}, which a word does not have yet")
        return np.concatenate([groups[name].ravel() for name in ships.groups])


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
