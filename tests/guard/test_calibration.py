"""What a risk file tells the guard: weights, thresholds for a stated loss, and files that cannot be used."""

from __future__ import annotations

import copy
import json
import math

import pytest

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.guard.calibration import Calibration, Mode, expit, log_odds
from lvlm_saliency.stats.conformal import class_rates

RATES = class_rates({"dog": 40, "cup": 60}, {"dog": 20}, kappa=20)
SCORES = tuple(i / 200 for i in range(199))
BOTH = Mode((1.0, 0.5, 1.0, -0.25), 0.05, SCORES, tuple(range(199)), 199)
ASK = Mode((1.0, 0.0, 0.0), 0.0, SCORES[:20], tuple(range(20)), 20)
MADE = Calibration({"both": BOTH, "ask": ASK}, RATES, {"command": "x"})


def test_the_terms_are_weighed_and_the_class_counts():
    expected = log_odds(0.3) + 0.5 * 1.5 + RATES.shift("dog") - 0.25
    assert MADE.risk("both", "dog", risk=0.3, margin=1.5) == pytest.approx(expit(expected))
    assert MADE.risk("ask", "dog", margin=0.0) == 0.5
    assert MADE.risk("both", "dog", risk=0.3, margin=1.5) > MADE.risk("both", "cup", risk=0.3, margin=1.5)
    unknown = log_odds(0.3) + 0.5 * 1.5 - 0.25
    assert MADE.risk("both", "giraffe", risk=0.3, margin=1.5) == pytest.approx(expit(unknown))


@pytest.mark.parametrize("loss", [0.005, 0.01, 0.05, 0.5])
def test_the_threshold_loses_no_more_than_was_said(loss):
    t = BOTH.threshold(loss)
    assert (sum(score > t for score in SCORES) + 1) / 200 <= loss + 1e-12
    assert t == SCORES[-1] or (sum(score > t - 1 / 200 for score in SCORES) + 1) / 200 > loss


def test_of_too_few_pictures_nothing_is_acted_on():
    assert ASK.threshold(0.01) == 1.0
    assert ASK.least_loss == pytest.approx(1 / 21)
    assert ASK.threshold(1.0) == 0.0


def test_it_survives_a_file():
    again = Calibration.from_json(json.loads(json.dumps(MADE.to_json())), "file")
    assert again == MADE
    endless = Calibration({"ask": ASK}, class_rates({"dog": 2}, {}, math.inf))
    assert Calibration.from_json(json.loads(json.dumps(endless.to_json())), "file") == endless


def test_what_was_not_calibrated_is_named():
    with pytest.raises(SettingError, match="calibrated for both, ask and not for risk"):
        MADE.mode("risk")
    with pytest.raises(SettingError, match="recall_loss"):
        BOTH.threshold(1.5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda v: v.pop("rates"),
        lambda v: v["modes"]["ask"].pop("weights"),
        lambda v: v["modes"]["ask"]["weights"].pop(),
        lambda v: v["modes"]["ask"]["weights"].__setitem__(0, math.nan),
        lambda v: v["modes"]["ask"]["scores"].__setitem__(0, 2.0),
        lambda v: v["modes"]["ask"]["scores"].pop(),
        lambda v: v["modes"]["ask"]["picture"].__setitem__(0, 20),
        lambda v: v["modes"]["ask"].__setitem__("pictures", "many"),
        lambda v: v["modes"].__setitem__("third", v["modes"]["ask"]),
        lambda v: v.__setitem__("modes", 3),
        lambda v: v["rates"].__setitem__("kappa", "none"),
    ],
)
def test_damage_is_named(damage):
    values = copy.deepcopy(MADE.to_json())
    damage(values)
    with pytest.raises(InputError, match="file: its calibration is damaged"):
        Calibration.from_json(values, "file")
