"""From labelled objects to a calibration: the first stage, its weight beside the answer, and thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from lvlm_saliency.guard.calibration import MODES, TERMS, Calibration, Mode
from lvlm_saliency.risk.fitting import ALL, Fitted, Logistic, Trees, fit
from lvlm_saliency.risk.model import RiskModel
from lvlm_saliency.risk.signals import CAUSAL
from lvlm_saliency.stats.conformal import (
    ClassRates,
    choose_kappa,
    class_rates,
    pass_threshold,
    picture_threshold,
    summed,
)
from lvlm_saliency.studies.calibrate.objects import Objects

DELTA, SURE = 0.04, 0.005
"""Share of the absent objects that may pass unasked, and of a picture's correct ones that may be acted on unasked."""
KINDS: Mapping[str, tuple[Logistic | Trees, ...]] = {
    "logistic": tuple(one for one in ALL if isinstance(one, Logistic)),
    "trees": tuple(one for one in ALL if isinstance(one, Trees)),
}
STRENGTH = 1.0
"""scikit-learn's C of the few weights of the second stage."""


@dataclass(frozen=True)
class Candidate:
    """A calibration and what it was made with.

    Attributes:
        kind: of classifier in the first stage.
        risk: the risk model, its `about` still empty; None where the model's answers alone decide.
        held: cross-validated log loss of that classifier on the training pictures.
    """

    kind: str
    risk: RiskModel | None
    calibration: Calibration
    held: Mapping[str, float] = field(default_factory=dict)

    def final(self, mode: str, objects: Objects) -> np.ndarray:
        """The final risk of every object, float64 `[N]`; 0 for one that passes unasked."""
        return final(mode, self.calibration.modes[mode], self.calibration.rates, self.risk, objects)


def candidates(learn: Objects, hold: Objects, seed: int) -> list[Candidate]:
    """One candidate for each kind of classifier: learned from `learn`, thresholds from `hold`.

    Raises:
        InputError: too few absent or correct objects to learn from.
    """
    counts = learn.take(learn.greedy).counts()
    rates = class_rates(summed(counts, 0), summed(counts, 1), choose_kappa(counts, seed=seed))
    found = []
    for kind, tried in KINDS.items():
        fitted = fit(learn.data, tried, seed=seed, groups=tuple(CAUSAL), layers=learn.layers)
        found.append(Candidate(kind, fitted.model, _calibrated(fitted, rates, learn, hold), fitted.losses))
    return found


def _calibrated(fitted: Fitted, rates: ClassRates, learn: Objects, hold: Objects) -> Calibration:
    risk = fitted.model
    odds = risk.calibrated(fitted.out_of_fold)  # of each training row by a model that has not seen it
    modes = {}
    for name in MODES:
        if name != "risk" and not (learn.asked and hold.asked):
            continue
        weights = _weights(name, odds[learn.greedy], learn.take(learn.greedy), rates)
        low, high = (_passes(risk, hold), _sure(risk, hold)) if name == "both" else (0.0, 1.0)
        mode = Mode(weights, low, (), (), hold.pictures, high)
        modes[name] = _scored(mode, final(name, mode, rates, risk, hold), hold)
    return Calibration(modes, rates)


def asked(hold: Objects) -> Candidate:
    """The model's answers alone, as they are: nothing is learned, and the threshold comes from `hold`."""
    counts = hold.counts()
    rates = class_rates(summed(counts, 0), summed(counts, 1), math.inf)
    mode = Mode((1.0, 0.0, 0.0), 0.0, (), (), hold.pictures)
    kept = _scored(mode, final("ask", mode, rates, None, hold), hold)
    return Candidate("the model's answers", None, Calibration({"ask": kept}, rates))


def _scored(mode: Mode, scores: np.ndarray, hold: Objects) -> Mode:
    """The mode with the final risks of the correct objects; rounded up, so that no threshold falls below its object."""
    right = ~hold.y
    kept = np.minimum(np.ceil(scores[right] * 1e6) / 1e6, 1.0)
    return replace(mode, scores=tuple(kept.tolist()), picture=tuple(hold.picture[right].tolist()))


def _weights(mode: str, odds: np.ndarray, objects: Objects, rates: ClassRates) -> tuple[float, ...]:
    """Weights of `TERMS[mode]` by logistic regression on the training objects."""
    from sklearn.linear_model import LogisticRegression

    terms = terms_of(mode, odds, objects, rates)
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit(terms[:, :-1], objects.y)
    return tuple(map(float, [*model.coef_[0], model.intercept_[0]]))


def terms_of(mode: str, odds: np.ndarray, objects: Objects, rates: ClassRates) -> np.ndarray:
    """What the mode weighs, float64 `[N, terms]`; odds: of the first stage, calibrated."""
    values = {
        "risk": np.clip(odds, -13.8, 13.8),
        "answer": objects.margin,
        "class": np.array([rates.shift(name) for name in objects.name]),
        "one": np.ones(len(objects)),
    }
    return np.stack([values[term] for term in TERMS[mode]], axis=1)


def final(mode: str, how: Mode, rates: ClassRates, risk: RiskModel | None, objects: Objects) -> np.ndarray:
    """The final risk of every object under a mode, float64 `[N]`; 0 for one that passes unasked."""
    first = np.full(len(objects), 0.5) if risk is None or mode == "ask" else risk.probability(objects.values)
    odds = np.log(np.clip(first, 1e-6, 1)) - np.log(np.clip(1 - first, 1e-6, 1))
    found = 1 / (1 + np.exp(-(terms_of(mode, odds, objects, rates) @ np.array(how.weights))))
    if mode != "both":
        return found
    # One score for both ends, rising in the threshold that it is held against, so that one threshold controls both.
    found = np.where(first >= how.act_above, np.maximum(first, found), found)
    return np.where(first < how.pass_below, 0.0, found)


def questions(mode: str, how: Mode, threshold: float, risk: RiskModel | None, objects: Objects) -> int:
    """About how many of the objects the model is asked."""
    if mode == "risk" or risk is None or mode == "ask":
        return 0 if mode == "risk" else len(objects)
    first = risk.probability(objects.values)
    return int(((first >= how.pass_below) & ~((first >= how.act_above) & (first > threshold))).sum())


def _passes(risk: RiskModel, hold: Objects) -> float:
    """The risk below which an object passes unasked: of pictures with absent objects, at most `DELTA` of those."""
    scores = [one for one in hold.by_picture(risk.probability(hold.values), hold.y) if len(one)]
    found = pass_threshold(scores, DELTA) if scores else 0.0
    return float(np.clip(found, 0.0, 1.0))


def _sure(risk: RiskModel, hold: Objects) -> float:
    """The risk from which on an object is acted on unasked: at most `SURE` of a picture's correct ones."""
    scores = hold.by_picture(risk.probability(hold.values), ~hold.y)
    above = picture_threshold(scores, SURE)
    return float(np.nextafter(np.clip(above, 0.0, 1.0), 1.0)) if above < 1 else 1.0


def missed(candidate: Candidate, mode: str, objects: Objects, recall_loss: float) -> tuple[int, int, float]:
    """Of other objects: absent ones at or below the threshold, all absent ones, and the mean over pictures of the share
    of correct objects above it."""
    score = candidate.final(mode, objects)
    t = candidate.calibration.modes[mode].threshold(recall_loss)
    lost = [float((one > t).mean()) if len(one) else 0.0 for one in objects.by_picture(score, ~objects.y)]
    return int((score[objects.y] <= t).sum()), int(objects.y.sum()), float(np.mean(lost)) if lost else float("nan")
