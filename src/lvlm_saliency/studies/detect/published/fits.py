"""Scores of held-out pictures: fitted rows, controls and calibration, by folds that never part a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlm_saliency.detection.fitted import Cases, Fittable
from lvlm_saliency.errors import InputError
from lvlm_saliency.risk.fitting import FOLDS, Data, fit, pictures_of_each, platt
from lvlm_saliency.studies.detect.published.gather import Words
from lvlm_saliency.studies.detect.published.kept import Fits
from lvlm_saliency.studies.detect.published.rows import Row
from lvlm_saliency.studies.detect.worth import COMMON

CONTROLS = ("position", "repetition", "class prior", "wording")
"""What needs no figure of the model: late words; objects named again (in the whole text) are right; some classes are
more often hallucinated; the words around."""
SHRINKAGE = 20.0
"""How many mentions a class's prior counts as (Laplace)."""


@dataclass(frozen=True)
class Folds:
    """Which fold each picture is in; pictures with and without a hallucinated word are dealt out apart."""

    of_picture: Mapping[str, int]

    @classmethod
    def of(cls, words: Mapping[str, Words], seed: int) -> Folds:
        """Folds over the pictures of all ways of decoding.

        Raises:
            InputError: too few pictures with a hallucinated word, or without one.
        """
        y = np.concatenate([one.y for one in words.values()])
        pictures = np.concatenate([one.picture for one in words.values()])
        positive, negative = pictures_of_each(y, pictures)
        if min(positive, negative) < FOLDS:
            raise InputError(
                f"hallucinated words in {positive} pictures and correct ones in {negative}: detectors cannot be "
                "compared on so few; raise --n"
            )
        bad = set(pictures[y].tolist())
        random = np.random.default_rng(seed)
        found: dict[str, int] = {}
        for kind in (True, False):
            names = sorted(name for name in set(pictures.tolist()) if (name in bad) == kind)
            order = random.permutation(len(names))
            found |= {names[at]: place % FOLDS for place, at in enumerate(order)}
        return cls(found)

    def rows(self, words: Words) -> np.ndarray:
        """int `[N]`: the fold of each word."""
        return np.array([self.of_picture[name] for name in words.picture], dtype=np.int64)


def cross_fitted(
    row: Row, words: Mapping[str, Words], trained: Sequence[str], folds: Folds, seed: int, kept: Fits
) -> dict[str, np.ndarray] | None:
    """Risks by way of decoding, each word's by a detector fitted on words of other pictures written in the ways
    `trained`; None where a fold has too little to learn from."""
    known = {
        way: [some.y.tolist(), some.picture.tolist(), some.name.tolist(), folds.rows(some).tolist()]
        for way, some in words.items()
    }
    features = {way: some.features[row.label] for way, some in words.items()}
    return kept.of(row, features, [known, list(trained), seed], lambda: _cross_fitted(row, words, trained, folds, seed))


def _cross_fitted(row: Row, words: Mapping[str, Words], trained: Sequence[str], folds: Folds, seed: int) -> Any:
    one = row.detector
    assert isinstance(one, Fittable)
    found = {way: np.full(len(some), np.nan) for way, some in words.items()}
    for fold in range(FOLDS):
        parts = [_cases(words[way], row.label, folds.rows(words[way]) != fold) for way in trained]
        cases = _joined(parts)
        known = cases.take(np.isfinite(cases.values).any(axis=1))
        if not len(known) or (one.fit == "trained" and min(pictures_of_each(known.y, known.picture)) < FOLDS):
            return None
        fitted = one.fitted(known, seed)
        for way, some in words.items():
            held = folds.rows(some) == fold
            if held.any():
                found[way][held] = fitted.risks(some.features[row.label][held], some.name[held])
    return found


def _cases(words: Words, label: str, rows: np.ndarray) -> Cases:
    picture = words.picture[rows]
    return Cases(words.features[label][rows], words.y[rows], picture, words.name[rows])


def _joined(parts: Sequence[Cases]) -> Cases:
    pictures = np.concatenate([part.picture for part in parts])
    numbers = np.unique(pictures.astype(str), return_inverse=True)[1]
    values, y, names = (np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "y", "names"))
    return Cases(values, y, numbers, names)


def controls(words: Mapping[str, Words], trained: Sequence[str], folds: Folds) -> dict[str, dict[str, np.ndarray]]:
    """The trivial rows: name to way of decoding to risk `[N]`; priors and wording are of other pictures."""
    found: dict[str, dict[str, np.ndarray]] = {
        "position": {way: some.position.astype(np.float64) for way, some in words.items()},
        "repetition": {way: -some.total.astype(np.float64) for way, some in words.items()},
        "class prior": {way: np.empty(len(some)) for way, some in words.items()},
        "wording": {way: np.empty(len(some)) for way, some in words.items()},
    }
    for fold in range(FOLDS):
        away = {way: folds.rows(words[way]) != fold for way in trained}
        names = np.concatenate([words[way].name[rows] for way, rows in away.items()])
        y = np.concatenate([words[way].y[rows] for way, rows in away.items()])
        rate = y.mean()
        prior = {
            name: (y[names == name].sum() + SHRINKAGE * rate) / ((names == name).sum() + SHRINKAGE)
            for name in set(names.tolist())
        }
        reader = _Wording([(words[way], rows) for way, rows in away.items()])
        for way, some in words.items():
            held = folds.rows(some) == fold
            found["class prior"][way][held] = [prior.get(name, rate) for name in some.name[held]]
            if held.any():
                found["wording"][way][held] = reader.log_odds(some, held)
    return found


class _Wording:
    """Place in the text, the word and the words around it, as they are written: logistic regression."""

    def __init__(self, parts: Sequence[tuple[Words, np.ndarray]]):
        wording = np.concatenate([words.wording[rows] for words, rows in parts])
        self.known = [_common(wording[:, slot]) for slot in range(wording.shape[1])]
        values = np.concatenate([self._values(words, rows) for words, rows in parts])
        y = np.concatenate([words.y[rows] for words, rows in parts])
        picture = np.concatenate([words.picture[rows].astype(str) for words, rows in parts])
        self.model = fit(Data(values, y, np.unique(picture, return_inverse=True)[1])).model

    def _values(self, words: Words, rows: np.ndarray) -> np.ndarray:
        place = words.position[rows, None].astype(np.float64)
        near = [words.wording[rows][:, [slot]] == ids for slot, ids in enumerate(self.known)]
        return np.concatenate([place, np.log1p(place), *near], axis=1).astype(np.float64)

    def log_odds(self, words: Words, rows: np.ndarray) -> np.ndarray:
        return self.model.log_odds(self._values(words, rows))


def _common(ids: np.ndarray) -> np.ndarray:
    values, counts = np.unique(ids, return_counts=True)
    return values[counts >= COMMON]


def calibrated(
    risks: Mapping[str, np.ndarray], words: Mapping[str, Words], trained: Sequence[str], folds: Folds
) -> dict[str, np.ndarray]:
    """Platt's calibration of a score, learned on other pictures in the ways `trained`: probabilities by way, NaN where
    the score is."""
    found = {way: np.full(len(some), np.nan) for way, some in words.items()}
    score = np.concatenate([risks[way] for way in trained])
    known = np.isfinite(score)
    if not known.any():
        return found
    middle, scale = float(score[known].mean()), float(score[known].std()) or 1.0
    y = np.concatenate([words[way].y for way in trained])
    fold = np.concatenate([folds.rows(words[way]) for way in trained])
    for number in range(FOLDS):
        rows = known & (fold != number)
        if len(set(y[rows].tolist())) < 2:
            continue
        slope, offset = platt((score[rows] - middle) / scale, y[rows])
        for way, some in words.items():
            held = folds.rows(some) == number
            odds = slope * (risks[way][held] - middle) / scale + offset
            found[way][held] = 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
    return found
