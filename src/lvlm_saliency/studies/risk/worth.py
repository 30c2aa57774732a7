"""What each group of features is worth: alone, added to log-probability, within all; and what words alone tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvlm_saliency.studies import stats
from lvlm_saliency.studies.risk.fitting import LOGISTIC, Data, fit, plain
from lvlm_saliency.studies.risk.mentions import Mentions, numbered

BASE = "log-probability"
COMMON = 5
"""Mentions in which a word must stand at a place to count in the control."""


@dataclass(frozen=True)
class Worth:
    """A group's AUROC alone, and the position-matched gain of adding it to log-probability and of having it in all."""

    group: str
    alone: stats.Estimate
    alone_matched: stats.Estimate
    added: stats.Estimate
    within: stats.Estimate


@dataclass(frozen=True)
class Judge:
    """Areas under the ROC curve on held-out mentions, with intervals that pair up."""

    held: Mentions
    resamples: int
    seed: int

    @property
    def resampler(self) -> stats.Resampler:
        return stats.Resampler(numbered(self.held.picture), self.resamples, self.seed)

    def area(self, score: np.ndarray, matched: bool = False) -> stats.Estimate:
        """AUROC of a score `[N]`; matched: among words of equal position (and way of decoding) only."""
        return self.resampler.estimate(self._statistic(score, matched))

    def gain(self, score: np.ndarray, over: np.ndarray, matched: bool = True) -> stats.Estimate:
        """AUROC of one score minus that of another, on the same resamples."""
        return self.resampler.difference(self._statistic(score, matched), self._statistic(over, matched))

    def _statistic(self, score: np.ndarray, matched: bool) -> stats.Statistic:
        return stats.auroc(score, self.held.y, self.held.strata if matched else None)


def score(train: Mentions, held: Mentions, groups: Sequence[str]) -> np.ndarray:
    """Log-odds `[N]` of the held-out mentions by the logistic regression chosen inside the training pictures."""
    return fit(train.data(groups), LOGISTIC).model.log_odds(held.matrix(groups))


def worths(train: Mentions, judge: Judge, groups: Sequence[str], listener) -> list[Worth]:
    """Every group one by one, logistic regression throughout.

    Without one group of all the strength is that of all, chosen once.
    """
    listener.begin("groups of features", len(groups), 0)
    everything = fit(train.data(groups))
    whole = everything.model.log_odds(judge.held.matrix(groups))
    base = score(train, judge.held, [BASE])
    found = []
    for group in groups:
        rest = [other for other in groups if other != group]
        alone = score(train, judge.held, [group])
        added = score(train, judge.held, [BASE, group]) if group != BASE else base
        without = plain(train.data(rest), everything.candidate).log_odds(judge.held.matrix(rest))
        found.append(
            Worth(
                group,
                judge.area(alone),
                judge.area(alone, matched=True),
                judge.gain(added, base),
                judge.gain(whole, without),
            )
        )
        listener.advance("groups of features", 1)
    return found


def words_alone(train: Mentions, held: Mentions) -> np.ndarray:
    """The control: log-odds `[N]` from place in the text, the object's own word and the words around it, as they are
    written, without any figure of the model. What it reaches, a risk owes to the way the texts are written."""
    known = [_common(train.wording[:, slot]) for slot in range(train.wording.shape[1])]
    data = Data(_one_hot(train, known), train.y, numbered(train.picture))
    return fit(data).model.log_odds(_one_hot(held, known))


def _common(ids: np.ndarray) -> np.ndarray:
    values, counts = np.unique(ids, return_counts=True)
    return values[counts >= COMMON]


def _one_hot(mentions: Mentions, known: Sequence[np.ndarray]) -> np.ndarray:
    place = mentions.position[:, None].astype(np.float64)
    words = [mentions.wording[:, [slot]] == ids for slot, ids in enumerate(known)]
    return np.concatenate([place, np.log1p(place), *words], axis=1).astype(np.float64)
