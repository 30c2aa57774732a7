"""Calibration of a risk: expected calibration error, reliability in bins, Brier score."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lvlm_saliency.stats import clusters as stats

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Mentions of like risk: their mean risk, and how many of them are hallucinated, with its interval."""

    risk: float
    rate: stats.Estimate


@dataclass(frozen=True)
class Calibration:
    """How well a risk is calibrated.

    Attributes:
        ece: expected calibration error over bins of equal width.
        by_chance: mean and 95 % bound of the ECE of a perfectly calibrated risk with these values and as many mentions.
        brier: mean squared error.
        constant: the Brier score of always predicting the base rate.
        loss: log loss in nats.
        risk: mean risk.
        rate: share of hallucinated mentions.
    """

    ece: stats.Estimate
    by_chance: tuple[float, float]
    brier: stats.Estimate
    constant: float
    loss: float
    risk: float
    rate: float
    bins: tuple[Bin, ...]
    n: int

    @property
    def within_chance(self) -> bool:
        """Whether the ECE is no larger than a perfect risk could show (one-sided, 5 %)."""
        return self.ece.value <= self.by_chance[1]


def ece(risk: np.ndarray, y: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: sum over bins of |mean risk - share of positives| x the bin's share of the rows.

    The bins have equal width (Guo et al. 2017, Eq. 3).

    Args:
        risk: float `[N]`, 0 to 1.
        y: bool `[N]`.
        bins: number of bins.
    """
    return float(error_of(risk, y, bins)(np.ones((1, len(y))))[0])


def error_of(risk: np.ndarray, y: np.ndarray, bins: int = BINS) -> stats.Statistic:
    """The expected calibration error as a statistic of weighted rows, for a `Resampler`."""
    parts = _bins(risk, bins)

    def statistic(weights: np.ndarray) -> np.ndarray:
        gaps = [np.abs(weights[:, part] @ (risk[part] - y[part])) for part in parts]
        return np.sum(gaps, axis=0) / weights.sum(axis=1)

    return statistic


def error(resampler: stats.Resampler, risk: np.ndarray, y: np.ndarray, chance: float) -> stats.Estimate:
    """The expected calibration error with its interval.

    A redrawn sample has a larger error than the sample by chance alone, so the draws are mirrored about the figure (the
    basic bootstrap; Davison and Hinkley 1997, 5.2), which removes part of that. Where a perfect risk could show the
    same error, the interval begins at 0.

    Args:
        risk: float `[N]`, 0 to 1.
        y: bool `[N]`.
        resampler: redraws the groups of these rows.
        chance: the bound of `by_chance`.
    """
    found = resampler.estimate(error_of(risk, y))
    if np.isnan([found.low, found.high]).any():
        return found
    low, high = 2 * found.value - found.high, 2 * found.value - found.low
    low = 0.0 if found.value <= chance else min(max(low, 0.0), found.value)
    return replace(found, low=low, high=max(high, found.value))


def _bins(risk: np.ndarray, bins: int) -> list[np.ndarray]:
    """The rows of each bin that has any, lowest risk first."""
    of_row = np.minimum((risk * bins).astype(int), bins - 1)
    return [np.flatnonzero(of_row == number) for number in np.unique(of_row)]


def judged(risk: np.ndarray, y: np.ndarray, pictures: np.ndarray, resamples: int, seed: int) -> Calibration:
    """How well `risk` float `[N]` is calibrated for y bool `[N]`; intervals redraw pictures int `[N]`."""
    resampler = stats.Resampler(pictures, resamples, seed)
    found = [
        Bin(float(risk[part].mean()), resampler.of(part).estimate(stats.mean(y[part]))) for part in _bins(risk, BINS)
    ]
    chance = by_chance(risk, seed)
    share = np.clip(risk, 1e-12, 1 - 1e-12)
    return Calibration(
        ece=error(resampler, risk, y, chance[1]),
        by_chance=chance,
        brier=resampler.estimate(stats.mean((risk - y) ** 2)),
        constant=float(y.mean() * (1 - y.mean())),
        loss=float(-np.mean(np.where(y, np.log(share), np.log1p(-share)))),
        risk=float(risk.mean()),
        rate=float(y.mean()),
        bins=tuple(found),
        n=len(y),
    )


def by_chance(risk: np.ndarray, seed: int) -> tuple[float, float]:
    """Mean and 95 % bound of the calibration error of a perfectly calibrated risk with these values, float `[N]`."""
    random = np.random.default_rng(seed)
    perfect = np.array([ece(risk, random.random(len(risk)) < risk) for _ in range(500)])
    return float(perfect.mean()), float(np.quantile(perfect, 0.95))


def isotonic(odds: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Isotonic calibration learned on (odds, y) and applied to `new`: float `[M]`, the rival of Platt's."""
    from sklearn.isotonic import IsotonicRegression

    return IsotonicRegression(out_of_bounds="clip").fit(odds, y).predict(new)
