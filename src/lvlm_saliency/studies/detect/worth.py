"""What each group of features is worth: alone, beside log-probability, beside the trace; and what words alone tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlm_saliency.risk.fitting import LOGISTIC, Data, fit, plain
from lvlm_saliency.risk.signals import FREE
from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies.detect.mentions import Mentions, numbered

BASE = "log-probability"
COMMON = 5
"""Mentions in which a word must stand at a place to count in the control."""


@dataclass(frozen=True)
class Worth:
    """A group's AUROC alone, and its position-matched gain beside log-probability and beside all else that the trace
    gives (within)."""

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


def worths(train: Mentions, judge: Judge, groups: Sequence[str], listener: Any) -> list[Worth]:
    """Every group one by one, logistic regression throughout. Where a group of the trace is taken from it, the strength
    stays that of the whole trace."""
    listener.begin("groups of features", len(groups), 0)
    free = [name for name in groups if name in FREE]
    chosen = fit(train.data(free))
    trace = chosen.model.log_odds(judge.held.matrix(free))
    base = score(train, judge.held, [BASE])
    found = []
    for group in groups:
        alone = score(train, judge.held, [group])
        added = score(train, judge.held, [BASE, group]) if group != BASE else base
        if group in free:
            rest = [other for other in free if other != group]
            within = judge.gain(trace, plain(train.data(rest), chosen.candidate).log_odds(judge.held.matrix(rest)))
        else:
            within = judge.gain(score(train, judge.held, [*free, group]), trace)
        found.append(
            Worth(
                group,
                judge.area(alone),
                judge.area(alone, matched=True),
                judge.gain(added, base),
                within,
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
