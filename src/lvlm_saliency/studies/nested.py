"""Does one group of features add to another? Nested logistic regressions on words that are not independent.

The plain likelihood-ratio test takes the words of one picture for independent. Beside it stand the Wald test with a
cluster-robust ("sandwich") covariance over pictures (Liang and Zeger 1986) and, out of sample, the gain of predictions
for pictures that the model has not seen. The last decides: it is robust to both clustering and overfitting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.special import expit, log_expit
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies.areas import Areas
from lvlm_saliency.studies.cells import between, p_value, tone
from lvlm_saliency.studies.page import Cell, Table

FOLDS = 5


@dataclass(frozen=True)
class Nested:
    """What `added` features bring beside `base` ones.

    Attributes:
        chi2, p: likelihood-ratio test on `df` degrees of freedom.
        wald, robust_p: the cluster-robust test.
        sign: of the first added coefficient (+1: high speaks for a hallucination at equal base), standardised.
        loss: cross-validated log-loss of the base, nats per word.
        gain: how much lower it is with the added features.
        base_auroc and auroc: the cross-validated areas of the base, and of both with their paired difference in
            area_gain.
    """

    base: str
    added: str
    df: int
    chi2: float
    p: float
    wald: float
    robust_p: float
    sign: int
    loss: float
    gain: stats.Estimate
    base_auroc: stats.Estimate
    auroc: stats.Estimate
    area_gain: stats.Estimate


@dataclass(frozen=True)
class Words:
    """What is predicted: y bool `[N]`, which words are hallucinated, and the pictures in `resampler.groups`."""

    y: np.ndarray
    resampler: stats.Resampler
    seed: int = 0
    _predicted: dict[bytes, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def _folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows to fit on, and rows of the pictures that are left out, for each fold; the same for all features."""
        split = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=self.seed)
        return list(split.split(self.y, self.y, self.resampler.groups))

    def compare(self, names: tuple[str, str], base: np.ndarray, added: np.ndarray) -> Nested:
        """`base` `[N, a]` against `base` and `added` `[N, b]` together. Both classes must have at least `FOLDS`
        pictures with such a word."""
        y, groups = np.asarray(self.y, bool), self.resampler.groups
        small, large = _standard(base), _standard(np.column_stack([base, added]))
        df = added.shape[1]
        fitted = _fit(large, y)
        ratio = max(0.0, 2 * (_likelihood(large, y, fitted) - _likelihood(small, y, _fit(small, y))))
        wald = _wald(large, y, groups, fitted, df)
        out = [self._unseen(x) for x in (small, large)]
        losses = [-log_expit(np.where(y, one, -one)) for one in out]
        areas = Areas(y, self.resampler)
        first, both = (areas.auroc(one) for one in out)
        return Nested(
            *names,
            df,
            ratio,
            float(chi2.sf(ratio, df)),
            wald,
            float(chi2.sf(wald, df)),
            int(np.sign(fitted[1 + base.shape[1]])),
            float(losses[0].mean()),
            self.resampler.estimate(stats.mean(losses[0] - losses[1])),
            first.estimate(),
            both.estimate(),
            (both - first).estimate(),
        )

    def _unseen(self, x: np.ndarray) -> np.ndarray:
        """Log-odds of every word by a model that has not seen its picture, `[N]`. A base that many comparisons share
        is fitted once."""
        key = x.tobytes()
        if key not in self._predicted:
            found = np.empty(len(x))
            for train, test in self._folds:
                model = LogisticRegression(C=1.0, max_iter=2000).fit(x[train], self.y[train])
                found[test] = model.decision_function(x[test])
            self._predicted[key] = found
        return self._predicted[key]


def can_compare(y: np.ndarray, groups: np.ndarray) -> bool:
    """Whether there are enough pictures with either kind of word to cross-validate."""
    return min(len(np.unique(groups[y])), len(np.unique(groups[~y]))) >= 2 * FOLDS


def table(
    found: Sequence[Nested], n: int, unit: str = "words", event: str = "a hallucination", groups: str = "pictures"
) -> Table:
    """The comparisons of n `unit` as a table; `event`: what is predicted; groups: what is left out whole."""
    lines = [
        (
            Cell(one.base),
            Cell(one.added, f"df {one.df}, sign {'+' if one.sign > 0 else '−'}" if one.df == 1 else f"df {one.df}"),
            Cell(f"{one.chi2:.1f}", p_value(one.p)),
            Cell(f"{one.wald:.1f}", p_value(one.robust_p)),
            Cell(f"{one.gain.value:+.4f} of {one.loss:.3f}", between(one.gain, 4), tone(one.gain, 0)),
            Cell(
                f"{one.area_gain.value:+.3f} to {one.auroc.value:.3f}", between(one.area_gain), tone(one.area_gain, 0)
            ),
        )
        for one in found
    ]
    return Table(
        "Nested models",
        ("base", "added", "ratio test χ²", "robust Wald χ²", "gain, nats", "gain in AUROC"),
        tuple(lines),
        f"n = {n:,} {unit}. sign +: at equal base, a higher score speaks for {event} (the paper says −). gain: of the "
        f"base's log-loss, and of its area to that of both, on unseen {groups}. Marked where the interval leaves "
        "0 out.",
    )


def _standard(x: np.ndarray) -> np.ndarray:
    spread = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1)


def _fit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Intercept and coefficients at the maximum of the likelihood (a penalty of 1e-6 keeps separable data finite)."""
    model = LogisticRegression(C=1e6, max_iter=10_000, tol=1e-8, solver="newton-cholesky").fit(x, y)
    return np.r_[model.intercept_, model.coef_[0]]


def _likelihood(x: np.ndarray, y: np.ndarray, coefficients: np.ndarray) -> float:
    odds = coefficients[0] + x @ coefficients[1:]
    return float(log_expit(np.where(y, odds, -odds)).sum())


def _wald(x: np.ndarray, y: np.ndarray, groups: np.ndarray, coefficients: np.ndarray, last: int) -> float:
    """Of the `last` coefficients, under the covariance that whole groups vary by."""
    design = np.column_stack([np.ones(len(x)), x])
    chance = expit(design @ coefficients)
    bread = np.linalg.pinv((design * (chance * (1 - chance))[:, None]).T @ design, hermitian=True)
    known, member = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(known), design.shape[1]))
    np.add.at(sums, member, design * (y - chance)[:, None])
    covariance = bread @ (sums.T @ sums) @ bread * len(known) / (len(known) - 1)
    tail = coefficients[-last:]
    return float(tail @ np.linalg.pinv(covariance[-last:, -last:], hermitian=True) @ tail)
