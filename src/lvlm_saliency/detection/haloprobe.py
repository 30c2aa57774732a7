"""HaloProbe: a classifier trained on words balanced over position, times a classifier of position and repetition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Needs, patches
from lvlm_saliency.detection.fitted import Cases, Perceptron, Trained, perceptron
from lvlm_saliency.detection.geometry import largest
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading

EXTERNAL = 3
"""The first features: first mention, occurrence (1 to 4), position."""
LONGEST = 512
"""Tokens by which a position is divided where the limit of the text is not known."""


@dataclass(frozen=True)
class Factorised:
    """Log-odds of hallucination: those of the inner classifier plus those of the outer one.

    The posterior of being right is f g / (f g + (1 - f)(1 - g)), whose log-odds are logit f + logit g.
    """

    inner: Perceptron
    outer: Any

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        """float64 `[N]`."""
        return self.inner.log_odds(values) + self.outer.log_odds(values[:, 1:EXTERNAL])


@dataclass(frozen=True)
class HaloProbe(Trained):
    """The factorised posterior: logit f(x) + logit g(x_e).

    f, a perceptron with two hidden layers, sees: first mention, occurrence clipped to 1..4, position; for each layer
    and head the mean of the 20 (of 576) largest attentions over the picture and the entropy of that attention, at the
    state that predicts the word and at the word; entropy, largest logit and largest softmax of the 100 largest logits.
    It is trained on words balanced given x_e (fifths of position x occurrence): within each, right and hallucinated
    words weigh the same (the rarer are drawn again). g is a logistic regression of occurrence and position on the words
    as they are.

    The paper normalises position "to [0, 1]" without saying by what; the text's final length would look ahead, so it is
    the limit on new tokens. Occurrences are counted so far, so that the score is causal. Its code has not been
    published: this follows the paper's text, which does not give the sizes of f's layers (256 and 64 here).

    Paper: HaloProbe, ICML 2026, arXiv 2604.06165.
    """

    name: ClassVar[str] = "haloprobe"
    title: ClassVar[str] = "factorised posterior"
    paper: ClassVar[str] = "arXiv 2604.06165"
    places: ClassVar[tuple[str, ...]] = ("P and A",)

    where: str = "P and A"
    epochs: int = 10
    hidden: tuple[int, ...] = (256, 64)

    def needs(self, depth: Depth) -> Needs:
        return Needs(logits=True, attention=frozenset(depth.attention), heads=True)

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        token = self.token(mention)
        place = token / (reading.max_new_tokens or LONGEST)
        external = [float(mention.first), float(min(mention.occurrence, 4)), place]
        surprise = reading.part("surprise", None, "logits at the mentions' rows")[reading.index(token)]
        inner = [looks(reading, token + step) for step in (0, 1)]
        return np.concatenate([external, surprise, *inner])

    def learn(self, cases: Cases, seed: int) -> Any:
        from lvlm_saliency.risk.fitting import Data, Logistic, plain

        rows = balanced(cases.values[:, 1], cases.values[:, 2], cases.y, seed)
        inner = perceptron(cases.values[rows], cases.y[rows], seed, self.hidden, self.epochs)
        outer = plain(Data(cases.values[:, 1:EXTERNAL], cases.y, cases.picture), Logistic(1.0), seed=seed)
        return Factorised(inner, outer)


def looks(reading: Reading, row: int) -> np.ndarray:
    """Mean of the largest attentions over the picture, and its entropy, of every layer and head, `[2 L H]`."""
    found = []
    for layer in reading.depth.attention:
        weights = reading.headwise(layer, row)[:, reading.image]
        if not weights.shape[1]:
            found.append(np.full((2, len(weights)), np.nan))
            continue
        share = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
        entropy = -(share * np.log(np.maximum(share, 1e-30))).sum(axis=1)
        count = patches(20, weights.shape[1])
        found.append(np.stack([np.array([largest(one, count).mean() for one in weights]), entropy]))
    return np.concatenate(found, axis=1).ravel()


def balanced(occurrence: np.ndarray, place: np.ndarray, y: np.ndarray, seed: int, bins: int = 5) -> np.ndarray:
    """Row numbers, some repeated, with as many positives as negatives in every stratum of occurrence and position.
    Strata with only one of the two are left out."""
    edges = np.quantile(place, np.linspace(0, 1, bins + 1)[1:-1])
    stratum = np.searchsorted(edges, place, side="right") * 10 + occurrence.astype(int)
    random, chosen = np.random.default_rng(seed), []
    for number in np.unique(stratum):
        kinds = [np.flatnonzero((stratum == number) & (y == kind)) for kind in (False, True)]
        if not all(map(len, kinds)):
            continue
        most = max(map(len, kinds))
        chosen += [np.r_[rows, random.choice(rows, most - len(rows))] for rows in kinds]
    return np.concatenate(chosen) if chosen else np.arange(len(y))
