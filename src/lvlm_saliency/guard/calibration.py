"""The guard's calibration on labelled pictures: how the risk and the model's answer are combined, and how much recall
each threshold loses.

It is stored in the `about` of a risk model (`about["guard"]`), so that one file holds risk model, weights and scores.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.files.kinds import is_number, is_share, is_whole
from lvlm_saliency.stats.conformal import ClassRates, picture_threshold

KEY = "guard"
"""The key of the calibration in `RiskModel.about`."""
MODES = ("risk", "ask", "both")
"""The modes of judging: by the risk model alone, by the model's answer alone, or by both."""
TERMS = {
    "risk": ("risk", "class", "one"),
    "ask": ("answer", "class", "one"),
    "both": ("risk", "answer", "class", "one"),
}
"""The terms of the weighted sum (a log-odds) of each mode: "risk" is the logit of the risk model's risk, "answer" the
log-odds of no over yes, "class" the object class's `ClassRates.shift`, "one" the constant 1."""
MOST_PICTURES = 1_000_000
_NEAR = 1e-6


@dataclass(frozen=True)
class Mode:
    """How one mode judges, and its scores on the calibration pictures.

    Attributes:
        weights: of `TERMS`.
        pass_below: mode "both": an object whose first-stage risk is lower passes without a question (0: none does).
        scores: the final risk of every correct object of the calibration pictures; 0 for one that passed.
        picture: the picture of each score, from 0.
        pictures: number of calibration pictures, including those without an object.
        act_above: mode "both": an object whose first-stage risk is at least this, and above the threshold, is acted on
            without a question (1: none is).
    """

    weights: tuple[float, ...]
    pass_below: float
    scores: tuple[float, ...] = field(repr=False)
    picture: tuple[int, ...] = field(repr=False)
    pictures: int
    act_above: float = 1.0

    def threshold(self, recall_loss: float) -> float:
        """The threshold for a loss of recall: the guard acts on objects with a final risk above it.

        In expectation it then acts on at most the share `recall_loss` of a new picture's correct objects (conformal
        risk control, `stats.conformal.picture_threshold`). It is 1 (never act) where the calibration pictures are too
        few to guarantee that.

        Raises:
            SettingError: recall_loss outside 0 to 1.
        """
        if not 0 <= recall_loss <= 1:
            raise SettingError(f"recall_loss must lie in 0 to 1, got {recall_loss}")
        return _threshold(self, recall_loss)

    @property
    def least_loss(self) -> float:
        """The smallest `recall_loss` that can be guaranteed: 1 / (pictures + 1)."""
        return 1 / (self.pictures + 1)


@dataclass(frozen=True)
class Calibration:
    """A guard's calibration.

    Attributes:
        modes: the calibrated modes by name.
        rates: how often mentions of each object class are hallucinated.
        record: JSON-ready: the pictures and texts that it was fitted on, and its figures on held-out ones.
    """

    modes: Mapping[str, Mode]
    rates: ClassRates
    record: Mapping[str, Any] = field(default_factory=dict)

    def mode(self, name: str) -> Mode:
        """The mode of this name.

        Raises:
            SettingError: it was not calibrated.
        """
        if name not in self.modes:
            raise SettingError(
                f"the guard's risk file is calibrated for {', '.join(self.modes)} and not for {name}: calibrate it "
                "(lvlm-saliency guard calibrate), or give a threshold"
            )
        return self.modes[name]

    def risk(self, mode: str, name: str, risk: float | None = None, margin: float | None = None) -> float:
        """The final risk of an object, 0 to 1.

        Args:
            mode: one of `MODES`.
            name: the object's canonical name.
            risk: of the risk model, 0 to 1 ("risk", "both").
            margin: log-odds of no over yes in the model's answer ("ask", "both").
        """
        values = {"class": self.rates.shift(name), "one": 1.0}
        if risk is not None:
            values["risk"] = log_odds(risk)
        if margin is not None:
            values["answer"] = float(margin)
        weights = self.mode(mode).weights
        return expit(sum(w * values[term] for w, term in zip(weights, TERMS[mode], strict=True)))

    def to_json(self) -> dict[str, Any]:
        """The calibration as JSON values, for `from_json`."""
        rates = asdict(self.rates) | {"kappa": None if math.isinf(self.rates.kappa) else self.rates.kappa}
        return {
            "modes": {name: {k: _plain(v) for k, v in asdict(mode).items()} for name, mode in self.modes.items()},
            "rates": rates,
            "record": dict(self.record),
        }

    @classmethod
    def from_json(cls, values: Any, where: str) -> Calibration:
        """Read the calibration in a risk file's `about`.

        Args:
            where: name of the file, for messages.

        Raises:
            InputError: it is not a calibration, or its numbers are impossible.
        """
        try:
            modes = {name: _mode(name, mode) for name, mode in values["modes"].items()}
            return cls(modes, _rates(values["rates"]), _record(values["record"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{where}: its calibration is damaged ({error!r}); calibrate the guard again") from error


@functools.lru_cache(maxsize=32)  # a server asks for the same one again and again
def _threshold(mode: Mode, recall_loss: float) -> float:
    scores, member = np.array(mode.scores), np.array(mode.picture, dtype=np.int64)
    ends = np.cumsum(np.bincount(member, minlength=mode.pictures))
    by_picture = np.split(scores[np.argsort(member, kind="stable")], ends[:-1])
    found = picture_threshold(by_picture if mode.pictures else [], recall_loss)
    return float(np.clip(found, 0.0, 1.0))


def log_odds(share: float) -> float:
    """log(p / (1 - p)), with p clipped to [1e-6, 1 - 1e-6]."""
    held = min(max(share, _NEAR), 1 - _NEAR)
    return math.log(held) - math.log1p(-held)


def expit(value: float) -> float:
    """1 / (1 + exp(-value))."""
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def _mode(name: str, given: Mapping[str, Any]) -> Mode:
    weights, scores, picture = given["weights"], given["scores"], given["picture"]
    pictures, low = given["pictures"], given["pass_below"]
    high = given.get("act_above", 1.0)  # files without it ask about every likely object
    if not all(isinstance(values, list) for values in (weights, scores, picture)):
        raise ValueError(f"{name}: its weights, scores or their pictures are no lists")
    if len(weights) != len(TERMS[name]) or len(scores) != len(picture):
        raise ValueError(f"{name}: {len(weights)} weights, {len(scores)} scores, {len(picture)} pictures of them")
    if not all(map(is_number, weights)) or not all(map(is_share, (*scores, low, high))):
        raise ValueError(f"{name}: a number that no risk can be")
    if not is_whole(pictures) or pictures > MOST_PICTURES:
        raise ValueError(f"{name}: calibrated on {pictures!r} pictures")
    if not all(is_whole(one) and one < pictures for one in picture):
        raise ValueError(f"{name}: a score of no picture")
    return Mode(
        tuple(map(float, weights)), float(low), tuple(map(float, scores)), tuple(picture), pictures, float(high)
    )


def _rates(given: Mapping[str, Any]) -> ClassRates:
    overall, kappa = given["overall"], given["kappa"]
    mentions, hallucinated = given["mentions"], given["hallucinated"]
    if not is_share(overall) or not (kappa is None or (is_number(kappa) and kappa >= 0)):
        raise ValueError(f"an overall rate of {overall!r} with a kappa of {kappa!r}")
    if not all(map(is_whole, (*mentions.values(), *hallucinated.values()))):
        raise ValueError("a count of mentions that is none")
    if not all(count <= mentions.get(name, 0) for name, count in hallucinated.items()):
        raise ValueError("a class with more hallucinated mentions than mentions")
    return ClassRates(float(overall), math.inf if kappa is None else float(kappa), dict(mentions), dict(hallucinated))


def _record(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or not isinstance(given.get("words"), (str, type(None))):
        raise ValueError("its record is none")
    return given


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
