"""Many areas under ROC curves over the same words, with intervals: as `stats.auroc`, at a fraction of its cost.

An area is a ratio of two sums over pairs (hallucinated word, correct word), and a resample weighs a pair by the product
of how often the two words' pictures were drawn. So the pairs are counted once, picture by picture, and a resample costs
one product of a matrix with two vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lvlm_saliency.stats.bootstrap import MIN_RESAMPLES
from lvlm_saliency.stats.clusters import Estimate, Resampler, interval

_BLOCK = 4_000_000  # pairs compared at once


@dataclass(frozen=True)
class Draws:
    """A figure and its resamples. Two of the same `Areas` are paired.

    Attributes:
        value: the figure.
        draws: its resamples, float64 `[resamples]`.
        n: number of rows.
        enough: whether there are enough groups for an interval.
    """

    value: float
    draws: np.ndarray
    n: int
    enough: bool = True

    def estimate(self, level: float = 0.95) -> Estimate:
        return Estimate(self.value, *interval(self.draws if self.enough else np.empty(0), level), self.n)

    def __sub__(self, other: Draws) -> Draws:
        return Draws(self.value - other.value, self.draws - other.draws, self.n, self.enough and other.enough)


def simultaneous(found: Mapping[str, Draws], level: float = 0.95) -> dict[str, Estimate]:
    """Intervals that hold for all of these figures at once: value -+ q x standard error, with q the quantile of the
    largest |resample - value| / standard error over them (max-t; Westfall and Young 1993). The resamples must be
    paired: row r of each of the same draw of groups."""
    usable = {
        name: one
        for name, one in found.items()
        if one.enough and len(one.draws) >= MIN_RESAMPLES and not np.isnan(one.draws).any()
    }
    errors = {name: float(np.std(one.draws, ddof=1)) for name, one in usable.items()}
    spread = [np.abs(usable[name].draws - usable[name].value) / error for name, error in errors.items() if error > 0]
    q = float(np.quantile(np.max(spread, axis=0), level)) if spread else float("nan")
    nan = float("nan")
    return {
        name: Estimate(one.value, one.value - q * errors[name], one.value + q * errors[name], one.n)
        if name in usable
        else Estimate(one.value, nan, nan, one.n)
        for name, one in found.items()
    }


@dataclass(frozen=True)
class Areas:
    """Areas over rows with these labels. y: bool `[N]`, the positives; the resamples are those of `resampler`."""

    y: np.ndarray
    resampler: Resampler

    @cached_property
    def _drawn(self) -> np.ndarray:
        """How often each group was drawn, float64 `[1 + resamples, groups]`; the first row is the rows as they are."""
        return np.concatenate([np.ones((1, self.resampler.size)), *self.resampler.redraws()])

    def auroc(self, score: np.ndarray, strata: np.ndarray | None = None) -> Draws:
        """P(score of a positive > score of a negative), ties half, pairs within a stratum only: as `stats.auroc`.

        Args:
            score: float `[N]`, finite; strata: int `[N]`.
        """
        y, member = np.asarray(self.y, bool), self.resampler.member
        positives, negatives = np.flatnonzero(y), np.flatnonzero(~y)
        if not len(positives) or not len(negatives):
            return Draws(float("nan"), np.full(self.resampler.resamples, np.nan), len(y))
        negatives = negatives[np.argsort(member[negatives], kind="stable")]
        groups, starts = np.unique(member[negatives], return_index=True)
        won = np.zeros((self._drawn.shape[1], len(groups)))
        pairs = np.zeros_like(won)
        step = max(1, _BLOCK // len(negatives))
        for first in range(0, len(positives), step):
            block = positives[first : first + step]
            above = np.sign(score[block, None] - score[None, negatives]) / 2 + 0.5
            same = np.ones_like(above) if strata is None else (strata[block, None] == strata[None, negatives]) * 1.0
            np.add.at(won, member[block], np.add.reduceat(above * same, starts, axis=1))
            np.add.at(pairs, member[block], np.add.reduceat(same, starts, axis=1))
        held = np.unique(member[positives])
        left, right = self._drawn[:, held], self._drawn[:, groups]
        with np.errstate(invalid="ignore"):
            values = np.einsum("rg,rg->r", left @ won[held], right) / np.einsum("rg,rg->r", left @ pairs[held], right)
        return Draws(float(values[0]), values[1:], len(y), self.resampler.enough)
