"""Detectors that are fitted on labelled words of other pictures."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from lvlm_saliency.detection.base import Detector, located_in
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading
from lvlm_saliency.errors import SettingError


@dataclass(frozen=True)
class Cases:
    """Labelled words to fit a detector on.

    Attributes:
        values: float64 `[N, F]`, the detector's features (NaN: missing); y: bool `[N]`, hallucinated; picture: int
            `[N]`, which picture; names: object `[N]`, what each names.
    """

    values: np.ndarray
    y: np.ndarray
    picture: np.ndarray
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray) -> Cases:
        """Some of the rows (a mask or numbers)."""
        return Cases(self.values[rows], self.y[rows], self.picture[rows], self.names[rows])


class Fittable(Detector):
    """A detector with something that must be fitted on other pictures: a scale, class means, or weights."""

    @property
    def ready(self) -> bool:
        """Whether it has been fitted."""
        return True

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        """What it reads of a word, float64 `[F]`; NaN where undefined."""
        raise NotImplementedError

    def fitted(self, cases: Cases, seed: int = 0) -> Self:
        """The same, fitted on these words."""
        raise NotImplementedError

    def risks(self, values: np.ndarray, names: np.ndarray) -> np.ndarray:
        """The risks `[N]` of words with these features `[N, F]` and names."""
        raise NotImplementedError

    def cases(self, words: Iterable[tuple[Reading, Mention, Any]]) -> Cases:
        """Words with labels as cases. words: (reading, mention, picture), equal pictures equal."""
        listed = list(words)
        pictures = {picture: number for number, picture in enumerate(dict.fromkeys(one[2] for one in listed))}
        return Cases(
            np.array([self.features(reading, mention) for reading, mention, _ in listed]),
            np.array([bool(mention.hallucinated) for _, mention, _ in listed]),
            np.array([pictures[picture] for *_, picture in listed]),
            np.array([mention.name for _, mention, _ in listed], dtype=object),
        )


def is_ready(one: Detector) -> bool:
    """Whether it can score words as it is."""
    return not isinstance(one, Fittable) or one.fit == "none" or one.ready


def check_ready(one: Detector) -> None:
    """Refuse a detector that has to be fitted first.

    Raises:
        SettingError: what is to be done instead.
    """
    if not is_ready(one):
        raise SettingError(
            f"{one.name} is fitted on labelled pictures, and nothing fitted ships: choose another one, or see the "
            f"table of study detect --detector {one.name}"
        )


@dataclass(frozen=True)
class Trained(Fittable):
    """A detector with trained weights. Before it is fitted it has no score; `fitted(cases)` returns a fitted one."""

    fit: ClassVar[str] = "trained"
    granularity: ClassVar[str] = "word"
    wholly: ClassVar[bool] = False
    """Whether one missing feature leaves the word without a score; else it is filled with the training mean."""

    weights: Any = field(default=None, kw_only=True, repr=False, compare=False)

    @property
    def ready(self) -> bool:
        return self.weights is not None

    def learn(self, cases: Cases, seed: int) -> Any:
        """The weights: anything with `log_odds(values)`."""
        raise NotImplementedError

    def fitted(self, cases: Cases, seed: int = 0) -> Self:
        return replace(self, weights=self.learn(cases, seed))

    def risks(self, values: np.ndarray, names: np.ndarray) -> np.ndarray:
        if self.weights is None:
            raise SettingError(
                f"{self.name} is trained on labelled words, and this one is not: call detector({self.name!r})"
                ".fitted(cases), or see the table of study detect --detector, which trains it on other pictures"
            )
        known = np.isfinite(values)
        there = known.all(axis=1) if self.wholly else known.any(axis=1)
        return np.where(there, self.weights.log_odds(values), np.nan)

    def score(self, source: Any, mention: Mention) -> float:
        found = located_in(source, mention)
        if found is None:
            return float("nan")
        reading, mention = found
        values = self.features(reading, mention)[None]
        return float(self.risks(values, np.array([mention.name], dtype=object))[0])

    def token(self, mention: Mention) -> int:
        """The token whose features count: the word's first, or its last for subtokens="last"."""
        if self.subtokens not in ("first", "last"):
            raise SettingError(f"{self.name} reads one token of a word: subtokens='first' or 'last'")
        return mention.start if self.subtokens == "first" else mention.end - 1


def logistic(cases: Cases, seed: int) -> Any:
    """Logistic regression, its strength chosen by cross-validation over pictures."""
    from lvlm_saliency.risk.fitting import LOGISTIC, Data, fit

    return fit(Data(cases.values, cases.y, cases.picture), LOGISTIC, seed=seed).model


def logistic_or_trees(cases: Cases, seed: int) -> Any:
    """The better of logistic regression and boosted trees, by cross-validation over pictures."""
    from lvlm_saliency.risk.fitting import ALL, Data, fit

    return fit(Data(cases.values, cases.y, cases.picture), ALL, seed=seed).model


@dataclass(frozen=True)
class Perceptron:
    """A multi-layer perceptron over standardised features; `log_odds` needs numpy alone.

    Attributes:
        fill, scale: float64 `[F]`, training means (which also stand in for missing values) and deviations.
        layers: (weights, bias) one after the other, ReLU between.
    """

    fill: np.ndarray
    scale: np.ndarray
    layers: Sequence[tuple[np.ndarray, np.ndarray]]

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        """float64 `[N]` of features `[N, F]`."""
        x = (np.where(np.isfinite(values), values, self.fill) - self.fill) / self.scale
        for weights, bias in self.layers[:-1]:
            x = np.maximum(x @ weights + bias, 0)
        weights, bias = self.layers[-1]
        return (x @ weights + bias)[:, 0]


def perceptron(
    values: np.ndarray, y: np.ndarray, seed: int, hidden: Sequence[int], epochs: int, decay: float = 1e-3
) -> Perceptron:
    """Adam at 1e-3, batches of 128, L2 `decay`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    known = np.isfinite(values)
    fill = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, values, fill)
    deviation = filled.std(axis=0)
    scale = np.where(deviation > 1e-9, deviation, 1.0)
    model = MLPClassifier(
        tuple(hidden), alpha=decay, max_iter=epochs, random_state=seed, batch_size=min(128, len(y)), tol=0,
        n_iter_no_change=epochs,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed
        model.fit((filled - fill) / scale, y)
    return Perceptron(fill, scale, list(zip(model.coefs_, model.intercepts_, strict=True)))
