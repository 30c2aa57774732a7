"""Training risk models with scikit-learn: candidates are compared by cross-validation, and the best one is exported."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lvlm_saliency.errors import InputError
from lvlm_saliency.extras import require
from lvlm_saliency.risk.model import RiskModel

FOLDS = 5


@dataclass(frozen=True)
class Logistic:
    """L2-regularised logistic regression; strength: scikit-learn's C, over standardised features."""

    strength: float

    def fit(self, values: np.ndarray, y: np.ndarray, seed: int) -> tuple[str, dict[str, np.ndarray], Any]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.strength, max_iter=300)
        with warnings.catch_warnings():
            # A warning about convergence can be ignored: candidates are compared by their held-out loss.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(values, y)
        return "logistic", {"weight": model.coef_[0], "bias": model.intercept_}, model


@dataclass(frozen=True)
class Trees:
    """Gradient-boosted trees.

    Attributes:
        count: number of trees.
        depth: of each tree.
        rate: learning rate.
    """

    count: int = 120
    depth: int = 3
    rate: float = 0.08

    def fit(self, values: np.ndarray, y: np.ndarray, seed: int) -> tuple[str, dict[str, np.ndarray], Any]:
        from sklearn.ensemble import GradientBoostingClassifier

        model = GradientBoostingClassifier(
            n_estimators=self.count,
            max_depth=self.depth,
            learning_rate=self.rate,
            subsample=0.5,
            max_features="sqrt",
            min_samples_leaf=10,
            random_state=seed,
        )
        model.fit(values, y)
        trees = [tree.tree_ for tree in model.estimators_[:, 0]]
        starts = np.cumsum([0, *(tree.node_count for tree in trees)])
        left, right = (
            np.concatenate(
                [np.where(child >= 0, child + at, -1) for child, at in zip(children, starts[:-1], strict=True)]
            )
            for children in ([t.children_left for t in trees], [t.children_right for t in trees])
        )
        share = np.mean(y)
        arrays = {
            "start": starts[:-1].astype(np.int32),
            "left": left.astype(np.int32),
            "right": right.astype(np.int32),
            "feature": np.concatenate([tree.feature for tree in trees]).astype(np.int32),
            "threshold": np.concatenate([tree.threshold for tree in trees]),
            "leaf": np.concatenate([tree.value[:, 0, 0] for tree in trees]) * self.rate,
            "root": np.array([np.log(share / (1 - share))]),
        }
        return "trees", arrays, model


KNOTS = (-3.0, 0.0, 3.0)
"""Log-odds at which a calibration may bend: about 5, 50 and 95 % of risk."""
RISE = 0.007
"""The least slope of a calibration: so it changes no order."""
LOGISTIC = (Logistic(0.003), Logistic(0.03), Logistic(0.3))
TREES = Trees()
ALL = (*LOGISTIC, TREES)


@dataclass(frozen=True)
class Fitted:
    """The chosen classifier as arrays.

    Attributes:
        out_of_fold: log-odds `[N]` of each training row by a model that has not seen its picture.
        losses: held-out log loss of every candidate.
    """

    candidate: Logistic | Trees
    model: RiskModel
    out_of_fold: np.ndarray
    losses: Mapping[str, float]


def pictures_of_each(y: np.ndarray, picture: np.ndarray) -> tuple[int, int]:
    """Number of pictures with a hallucinated word, and of those with a correct one; training needs `FOLDS` of each."""
    return len(set(picture[y].tolist())), len(set(picture[~y].tolist()))


@dataclass(frozen=True)
class Data:
    """Training rows: values `[N, F]` (NaN: missing), y bool `[N]`, picture int `[N]`, names of the F features."""

    values: np.ndarray
    y: np.ndarray
    picture: np.ndarray
    names: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        positive, negative = pictures_of_each(self.y, self.picture)
        if min(positive, negative) < FOLDS:
            raise InputError(
                f"{int(self.y.sum())} hallucinated and {int((~self.y).sum())} correct object words, in {positive} and "
                f"{negative} pictures: too few to learn from; raise --n (or the study's train=)"
            )

    @cached_property
    def folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(training rows, held-out rows) of each fold; the rows of a picture stay together.

        Pictures with and without a hallucinated word are distributed separately, so that every fold has both.
        scikit-learn's StratifiedGroupKFold does the same, but its time grows with the square of the pictures.
        """
        pictures, member = np.unique(self.picture, return_inverse=True)
        bad = np.bincount(member, weights=self.y) > 0
        random, fold = np.random.default_rng(0), np.empty(len(pictures), dtype=np.int64)
        for some in (np.flatnonzero(bad), np.flatnonzero(~bad)):
            fold[random.permutation(some)] = np.arange(len(some)) % FOLDS
        of_row = fold[member]
        return [(np.flatnonzero(of_row != number), np.flatnonzero(of_row == number)) for number in range(FOLDS)]

    def columns(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fill, mean and scale of the features over these rows."""
        values = self.values[rows]
        known = np.isfinite(values)
        fill = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        scale = np.where(known, values, fill).std(axis=0)
        return fill, fill, np.where(scale > 1e-9, scale, 1.0)


def fit(
    data: Data,
    candidates: Sequence[Logistic | Trees] = LOGISTIC,
    *,
    seed: int = 0,
    may_bend: bool = False,
    **kept: Any,
) -> Fitted:
    """The candidate with the smallest held-out log loss, fitted to all rows, with Platt's calibration.

    Choice and calibration use predictions by models that have not seen the picture (grouped cross-validation).
    `may_bend`: the calibration's line may bend at `KNOTS` where that lowers the held-out log loss of the calibration.
    `kept`: groups, layers, objects and about of the model.
    """
    require("studies", "sklearn", what="fitting a risk model")
    found = {}
    for candidate in candidates:
        odds = np.empty(len(data.y))
        for train, held in data.folds:
            odds[held] = _model(data, train, candidate, seed).log_odds(data.values[held])
        found[candidate] = odds
    losses = {candidate: log_loss(odds, data.y) for candidate, odds in found.items()}
    best = min(losses, key=losses.__getitem__)
    line = calibration(found[best], data, may_bend)
    model = _model(data, np.arange(len(data.y)), best, seed, **vars(line), **kept)
    return Fitted(best, model, found[best], {str(candidate): loss for candidate, loss in losses.items()})


def plain(data: Data, candidate: Logistic | Trees, *, seed: int = 0) -> RiskModel:
    """One candidate fitted to all rows, without comparison or calibration: sufficient for a ranking."""
    return _model(data, np.arange(len(data.y)), candidate, seed)


def _model(data: Data, rows: np.ndarray, candidate: Logistic | Trees, seed: int, **kept: Any) -> RiskModel:
    fill, mean, scale = data.columns(rows)
    values = np.where(np.isfinite(data.values[rows]), data.values[rows], fill)
    kind, arrays, _ = candidate.fit((values - mean) / scale, data.y[rows], seed)
    rest = {"groups": (), "layers": (), "objects": np.zeros(0, np.int64), "slope": 1.0, "offset": 0.0, **kept}
    return RiskModel(features=tuple(data.names), fill=fill, mean=mean, scale=scale, kind=kind, arrays=arrays, **rest)


def log_loss(odds: np.ndarray, y: np.ndarray) -> float:
    """Mean negative log-likelihood in nats."""
    return float(np.mean(np.logaddexp(0, np.where(y, -odds, odds))))


def platt(odds: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and offset of Platt's calibration (a logistic regression of y on the log-odds)."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e6).fit(odds[:, None], y)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


@dataclass(frozen=True)
class Line:
    """A calibration: log-odds to calibrated log-odds, as `RiskModel.calibrated` has it."""

    slope: float
    offset: float
    bends: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __call__(self, odds: np.ndarray) -> np.ndarray:
        found = self.slope * odds + self.offset
        for knot, change in self.bends.reshape(-1, 2):
            found = found + change * np.maximum(odds - knot, 0)
        return found


def bent(odds: np.ndarray, y: np.ndarray) -> Line:
    """The line with the smallest log loss that may bend at `KNOTS` and rises everywhere, by at least `RISE`."""
    from scipy.optimize import minimize

    above = np.stack([odds, *(np.maximum(odds - knot, 0) for knot in KNOTS)], axis=1)

    def changes(logs: np.ndarray) -> np.ndarray:
        return np.diff(np.exp(logs), prepend=0)

    def loss(values: np.ndarray) -> float:
        return log_loss(above @ changes(values[1:]) + values[0], y)

    start = np.zeros(len(KNOTS) + 2)
    limits = [(None, None), *[(np.log(RISE), 3.0)] * (len(KNOTS) + 1)]
    offset, *logs = minimize(loss, start, method="L-BFGS-B", bounds=limits).x
    slope, *rest = changes(np.array(logs))
    return Line(float(slope), float(offset), np.array([KNOTS, rest]).T.ravel())


def calibration(odds: np.ndarray, data: Data, may_bend: bool = False) -> Line:
    """Calibration of log-odds `[N]` of rows by models that have not seen their pictures: Platt's, unless the line may
    bend, and one that does has a smaller log loss on pictures that it was not fitted on."""
    straight = Line(*platt(odds, data.y))
    if not may_bend:
        return straight
    losses = [
        sum(log_loss(make(train)(odds[held]), data.y[held]) * len(held) for train, held in data.folds)
        for make in (
            lambda rows: Line(*platt(odds[rows], data.y[rows])),
            lambda rows: bent(odds[rows], data.y[rows]),
        )
    ]
    return bent(odds, data.y) if losses[1] < losses[0] else straight
