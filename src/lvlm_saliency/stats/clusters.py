"""Figures with intervals over labelled words: bootstrap over pictures, areas under curves, rates in bins.

Words of one picture are not independent, so every interval redraws whole pictures (cluster bootstrap, percentile
method). A redrawn picture counts as often as it was drawn, so a resample is a row of weights, and every statistic here
takes weights `[resamples, N]` at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lvlm_saliency.stats.bootstrap import MIN_IMAGES, MIN_RESAMPLES

Statistic = Callable[[np.ndarray], np.ndarray]
"""Weights `[R, N]` to values `[R]`."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval (NaN where there is none) and the number of rows behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.value:.3f} (no interval)"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def excludes(self, value: float) -> bool:
        """Whether the interval leaves the value out."""
        return self.low > value or self.high < value


@dataclass(frozen=True)
class Resampler:
    """Resamples groups of rows. The same seed gives the same resamples, so that figures can be paired.

    Attributes:
        groups: int `[N]`, the group of each row.
        total: number of groups where the rows are a subset (`groups` then numbers them from 0). All of them are
            redrawn, so that figures over other rows of the same groups can be paired too.
    """

    groups: np.ndarray
    resamples: int = 2000
    seed: int = 0
    total: int | None = None

    @cached_property
    def member(self) -> np.ndarray:
        """int `[N]`: each row's group, numbered from 0."""
        return self.groups if self.total is not None else np.unique(self.groups, return_inverse=True)[1]

    @property
    def size(self) -> int:
        """How many groups are redrawn."""
        return int(self.member.max(initial=-1)) + 1 if self.total is None else self.total

    def redraws(self, block: int = 250) -> Iterator[np.ndarray]:
        """How often each group was drawn, float64 `[at most block, groups]`, until there are `resamples` rows."""
        size, random = self.size, np.random.default_rng(self.seed)
        for start in range(0, self.resamples, block):
            count = min(block, self.resamples - start)
            yield random.multinomial(size, np.full(size, 1 / size), size=count).astype(np.float64)

    @property
    def enough(self) -> bool:
        """Whether there are groups enough for an interval to say anything: `MIN_IMAGES`."""
        return self.size >= MIN_IMAGES

    def draws(self, statistic: Statistic, block: int = 250) -> np.ndarray:
        """The statistic of every resample, float64 `[resamples]`."""
        return np.concatenate([np.empty(0), *(statistic(drawn[:, self.member]) for drawn in self.redraws(block))])

    def estimate(self, statistic: Statistic) -> Estimate:
        """The statistic of the rows as they are, with its interval; none where there are not `enough` groups."""
        count = len(self.groups)
        value = float(statistic(np.ones((1, count)))[0]) if count else float("nan")
        return Estimate(value, *interval(self.draws(statistic) if self.enough else np.empty(0)), count)

    def difference(self, one: Statistic, other: Statistic) -> Estimate:
        """One minus the other, on the same resamples."""
        return self.estimate(lambda weights: one(weights) - other(weights))

    def of(self, rows: np.ndarray) -> Resampler:
        """For a subset of the rows."""
        return Resampler(self.groups[rows], self.resamples, self.seed)


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval; NaN of fewer than `MIN_RESAMPLES` draws, or where more than a few leave the figure
    undefined."""
    tail = (1 - level) / 2
    if len(draws) < MIN_RESAMPLES or np.isnan(draws).mean() > tail:
        return float("nan"), float("nan")
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def auroc(score: np.ndarray, y: np.ndarray, strata: np.ndarray | None = None) -> Statistic:
    """P(score of a positive > score of a negative), ties counted half; within strata only, pairs pooled over them.

    Args:
        score: float `[N]`, finite; y: bool `[N]`; strata: int `[N]`, for instance the position in the text: the area
            then says what the score separates among words of equal position.
    """
    groups = np.zeros(len(score), dtype=np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    order = np.lexsort((score, groups))
    score, y, groups = score[order], np.asarray(y, bool)[order], groups[order]
    new_stratum = np.r_[True, groups[1:] != groups[:-1]] if len(groups) else np.zeros(0, bool)
    starts = np.flatnonzero(new_stratum | np.r_[True, score[1:] != score[:-1]]) if len(score) else np.zeros(0, int)
    of_tie = groups[starts]
    first_tie = np.searchsorted(of_tie, np.arange(groups.max() + 1 if len(groups) else 0))

    def statistic(weights: np.ndarray) -> np.ndarray:
        weights = weights[:, order]
        positive = np.add.reduceat(weights * y, starts, axis=1)
        negative = np.add.reduceat(weights * ~y, starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative
        below -= below[:, first_tie][:, of_tie]
        pairs = np.add.reduceat(positive, first_tie, axis=1) * np.add.reduceat(negative, first_tie, axis=1)
        with np.errstate(invalid="ignore"):
            return (positive * (below + negative / 2)).sum(axis=1) / pairs.sum(axis=1)

    return statistic


def average_precision(score: np.ndarray, y: np.ndarray) -> Statistic:
    """Mean precision over the positives, from the largest score down; tied rows enter together (as scikit-learn's)."""
    order = np.argsort(-score, kind="stable")
    score, y = score[order], np.asarray(y, bool)[order]
    starts = np.flatnonzero(np.r_[True, score[1:] != score[:-1]]) if len(score) else np.zeros(0, int)

    def statistic(weights: np.ndarray) -> np.ndarray:
        weights = weights[:, order]
        positive = np.add.reduceat(weights * y, starts, axis=1)
        taken = np.cumsum(np.add.reduceat(weights, starts, axis=1), axis=1)
        found = np.cumsum(positive, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(taken > 0, found / taken, 0)
            return (positive * precision).sum(axis=1) / found[:, -1]

    return statistic


def positives_found(score: np.ndarray, y: np.ndarray, false_alarms: float) -> Statistic:
    """The largest share of positives that a threshold on the score finds while it takes at most this share of the
    negatives (true positive rate at a false positive rate); tied rows enter together.

    Args:
        score: float `[N]`, finite; y: bool `[N]`; false_alarms: 0 to 1.
    """
    return _rates(score, y, lambda found, taken: np.where(taken <= false_alarms + 1e-12, found, 0).max(axis=1))


def negatives_taken(score: np.ndarray, y: np.ndarray, found: float) -> Statistic:
    """The smallest share of negatives that a threshold takes while it finds at least this share of the positives (false
    positive rate at a true positive rate); arguments as for `positives_found`."""
    return _rates(score, y, lambda share, taken: np.where(share >= found - 1e-12, taken, 1).min(axis=1))


def _rates(score: np.ndarray, y: np.ndarray, chosen: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Statistic:
    order = np.argsort(-score, kind="stable")
    score, y = score[order], np.asarray(y, bool)[order]
    starts = np.flatnonzero(np.r_[True, score[1:] != score[:-1]]) if len(score) else np.zeros(0, int)

    def statistic(weights: np.ndarray) -> np.ndarray:
        weights = weights[:, order]
        found = np.cumsum(np.add.reduceat(weights * y, starts, axis=1), axis=1)
        taken = np.cumsum(np.add.reduceat(weights * ~y, starts, axis=1), axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            found, taken = found / found[:, -1:], taken / taken[:, -1:]
        undefined = np.isnan(found[:, -1]) | np.isnan(taken[:, -1])
        return np.where(undefined, np.nan, chosen(found, taken))

    return statistic


def mean(values: np.ndarray, rows: np.ndarray | None = None) -> Statistic:
    """Weighted mean of `values` `[N]`, over `rows` (bool `[N]`) only."""
    keep = np.ones(len(values), bool) if rows is None else np.asarray(rows, bool)
    numbers = np.where(keep, values, 0).astype(np.float64)

    def statistic(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ numbers) / (weights @ keep)

    return statistic


def deviation(values: np.ndarray) -> float:
    """Standard deviation of the values, n - 1 in the denominator."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def equal_width(score: np.ndarray, bins: int) -> np.ndarray:
    """int `[N]`: the bin of each score, `bins` of equal width from the smallest to the largest."""
    edges = np.linspace(score.min(), score.max(), bins + 1)[1:-1]
    return np.searchsorted(edges, score, side="right")


def quantile_bins(score: np.ndarray, bins: int) -> np.ndarray:
    """int `[N]`: the bin of each score, as many scores in each of `bins` as ties allow."""
    edges = np.quantile(score, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, score, side="right")
