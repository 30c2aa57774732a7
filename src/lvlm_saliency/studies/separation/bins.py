"""The hallucination rate in bins of a score, as the paper shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, rankdata, spearmanr

from lvlm_saliency.stats import clusters as stats

LEAST = 10
"""Smallest number of words of a bin for the rank correlation; rates over fewer are noise."""


@dataclass(frozen=True)
class Bin:
    """Words whose score lies in [low, high]: `n`, of which `hallucinated`, and their share with its interval."""

    number: int
    low: float
    high: float
    n: int
    hallucinated: int
    rate: stats.Estimate


@dataclass(frozen=True)
class Binned:
    """The bins that hold words, lowest score first, and Spearman's rank correlation of bin and rate over those with
    at least `LEAST` words (-1: the rate falls with every step, as the paper says)."""

    bins: list[Bin]
    spearman: stats.Estimate


def binned(score: np.ndarray, y: np.ndarray, resampler: stats.Resampler, count: int, equal_width: bool) -> Binned:
    """`count` bins of equal width, or with equally many words each.

    The interval of a rate is the wider, on either side, of the bootstrap's over pictures (which is empty where all
    words of a bin are alike) and Wilson's.
    """
    numbers = stats.equal_width(score, count) if equal_width else stats.quantile_bins(score, count)
    kept, members = [], []
    for number in np.unique(numbers):
        rows = numbers == number
        n, wrong = int(rows.sum()), int(y[rows].sum())
        drawn = resampler.estimate(stats.mean(y, rows))
        wilson = binomtest(wrong, n).proportion_ci(method="wilson")
        low, high = np.fmin(drawn.low, wilson.low), np.fmax(drawn.high, wilson.high)
        rate = stats.Estimate(drawn.value, float(low), float(high), n)
        kept.append(Bin(int(number), float(score[rows].min()), float(score[rows].max()), n, wrong, rate))
        members.append(rows)
    ranked = [rows for rows, one in zip(members, kept, strict=True) if one.n >= LEAST]
    return Binned(kept, _trend(ranked, y, resampler))


def _trend(members: list[np.ndarray], y: np.ndarray, resampler: stats.Resampler) -> stats.Estimate:
    if len(members) < 3:
        return stats.Estimate(float("nan"), float("nan"), float("nan"), len(members))
    rates = [stats.mean(y, rows) for rows in members]

    def correlation(weights: np.ndarray) -> np.ndarray:
        ranks = rankdata(np.stack([rate(weights) for rate in rates], axis=1), axis=1, nan_policy="propagate")
        ranks -= ranks.mean(axis=1, keepdims=True)
        steps = np.arange(len(members)) - (len(members) - 1) / 2
        with np.errstate(invalid="ignore"):
            return ranks @ steps / np.sqrt((ranks**2).sum(axis=1) * (steps**2).sum())

    found = resampler.estimate(correlation)
    return stats.Estimate(found.value, found.low, found.high, len(members))


def spearman(score: np.ndarray, y: np.ndarray, resampler: stats.Resampler) -> stats.Estimate:
    """Spearman's rank correlation of score and label over words; ranks are those of all the words in every resample."""
    if len(np.unique(score)) < 2 or len(np.unique(y)) < 2:
        return stats.Estimate(float("nan"), float("nan"), float("nan"), len(y))
    one, other = (rankdata(values) / len(values) for values in (score, y))

    def correlation(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1)
        means = [weights @ values / total for values in (one, other, one * other, one * one, other * other)]
        a, b, ab, aa, bb = means
        with np.errstate(invalid="ignore", divide="ignore"):
            return (ab - a * b) / np.sqrt((aa - a * a) * (bb - b * b))

    found = resampler.estimate(correlation)
    return stats.Estimate(float(spearmanr(score, y).statistic), found.low, found.high, len(y))


def standardised_difference(score: np.ndarray, y: np.ndarray, resampler: stats.Resampler) -> stats.Estimate:
    """Mean of correct words minus that of hallucinated ones, in standard deviations (pooled over the two kinds), so
    that scores on different scales can be set side by side."""

    def difference(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            counts = [weights @ kind for kind in (~y, y)]
            means = [weights @ (score * kind) / n for kind, n in zip((~y, y), counts, strict=True)]
            squares = [weights @ (score**2 * kind) / n for kind, n in zip((~y, y), counts, strict=True)]
            spread = [np.maximum(s - m * m, 0) * n for s, m, n in zip(squares, means, counts, strict=True)]
            return (means[0] - means[1]) / np.sqrt(sum(spread) / (counts[0] + counts[1] - 2))

    return resampler.estimate(difference)
