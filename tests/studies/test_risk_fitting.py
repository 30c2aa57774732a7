"""Learning risk: signal that is there is found, noise is not, pictures never leak, and calibration is judged right."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import log_loss as their_log_loss
from sklearn.metrics import roc_auc_score

from lvlm_saliency.errors import InputError
from lvlm_saliency.risk.fitting import KNOTS, LOGISTIC, Data, Trees, fit, log_loss, platt
from lvlm_saliency.risk.fitting import calibration as calibration_of
from lvlm_saliency.risk.model import RiskModel
from lvlm_saliency.stats import calibration


def table(signal: float, pictures=150, each=6, features=8, seed=0, rate=-1.5) -> Data:
    """Words of pictures; the first feature carries `signal`, the others nothing."""
    random = np.random.default_rng(seed)
    picture = np.repeat(np.arange(pictures), each)
    values = random.normal(size=(len(picture), features))
    y = random.random(len(picture)) < expit(signal * values[:, 0] + rate)
    return Data(values, y, picture, [f"f{i}" for i in range(features)])


@pytest.mark.parametrize("candidates", [LOGISTIC, [Trees(40)]])
def test_planted_signal_is_found_and_noise_is_not(candidates):
    planted, null = table(2.5), table(0.0)
    assert roc_auc_score(planted.y, fit(planted, candidates).out_of_fold) > 0.85
    assert roc_auc_score(null.y, fit(null, candidates).out_of_fold) == pytest.approx(0.5, abs=0.07)


def test_what_identifies_the_picture_does_not_help_across_pictures():
    """A picture's words are all made up or all right, and a feature is the picture's own number, scrambled: a split by
    words reads the answer off the other words of the same picture, a split by pictures cannot."""
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.model_selection import KFold, cross_val_predict

    random = np.random.default_rng(2)
    picture = np.repeat(np.arange(120), 6)
    y = (random.random(120) < 0.3)[picture]
    values = random.normal(size=(120, 3))[picture]
    words = KFold(5, shuffle=True, random_state=0)
    trees = GradientBoostingClassifier(n_estimators=60, random_state=0)
    leaky = cross_val_predict(trees, values, y, cv=words, method="predict_proba")[:, 1]
    assert roc_auc_score(y, leaky) > 0.75
    found = fit(Data(values, y, picture, list("abc")), [Trees(60)]).out_of_fold
    assert roc_auc_score(y, found) < 0.62


def test_no_picture_is_on_both_sides_of_a_fold():
    data = table(1.0)
    for train, held in data.folds:
        assert not set(data.picture[train]) & set(data.picture[held])
    assert sorted(np.concatenate([held for _, held in data.folds])) == list(range(len(data.y)))


def test_the_candidate_with_the_smallest_held_out_loss_is_chosen():
    data = table(1.5)
    found = fit(data, [*LOGISTIC, Trees(40)])
    assert found.losses[str(found.candidate)] == min(found.losses.values())
    assert log_loss(found.out_of_fold, data.y) == pytest.approx(found.losses[str(found.candidate)])


def test_log_loss_is_scikit_learns():
    odds, y = np.array([-3.0, 0.5, 2.0, 40.0]), np.array([False, True, False, True])
    assert log_loss(odds, y) == pytest.approx(their_log_loss(y, expit(odds)))


def test_platt_undoes_overconfidence():
    random = np.random.default_rng(0)
    odds = random.normal(size=20_000) * 2
    y = random.random(len(odds)) < expit(odds)
    slope, offset = platt(3 * odds + 1, y)
    assert slope == pytest.approx(1 / 3, abs=0.02)
    assert offset == pytest.approx(-1 / 3, abs=0.06)


def test_missing_and_constant_features_do_no_harm():
    data = table(2.0)
    values = np.c_[data.values, np.full(len(data.y), np.nan), np.ones(len(data.y))]
    values[::7, 0] = np.nan
    found = fit(Data(values, data.y, data.picture, list("abcdefghij")))
    assert np.isfinite(found.model.probability(values)).all()
    assert roc_auc_score(data.y, found.out_of_fold) > 0.75


def test_too_few_words_are_told():
    data = table(0.0, pictures=20)
    y = np.zeros(len(data.y), bool)
    y[:2] = True
    with pytest.raises(InputError, match="2 hallucinated and 118 correct object words, in 1 and 20 pictures"):
        Data(data.values, y, data.picture)


def test_the_same_seed_gives_the_same_model():
    one, other = (fit(table(1.0), [Trees(20)], seed=5).model for _ in range(2))
    assert np.array_equal(one.arrays["threshold"], other.arrays["threshold"])


# --- calibration ---


def test_calibration_error_of_known_numbers():
    risk = np.array([0.1] * 10 + [0.8] * 10)
    y = np.array([True] * 3 + [False] * 7 + [True] * 5 + [False] * 5)
    assert calibration.ece(risk, y, bins=2) == pytest.approx(0.5 * 0.2 + 0.5 * 0.3)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=3, max_size=40), st.integers(1, 12))
def test_calibration_error_lies_between_the_gap_of_the_means_and_one(pairs, bins):
    risk, y = np.array([p for p, _ in pairs]), np.array([q for _, q in pairs])
    found = calibration.ece(risk, y, bins)
    assert abs(risk.mean() - y.mean()) - 1e-9 <= found <= 1 + 1e-9


@pytest.mark.parametrize(("bend", "good"), [(1.0, True), (3.0, False)])
def test_a_calibrated_risk_is_told_from_an_overconfident_one(bend, good):
    random = np.random.default_rng(7)
    odds = random.normal(size=3000) - 1
    y = random.random(len(odds)) < expit(odds)
    found = calibration.judged(expit(bend * odds), y, np.arange(3000) // 3, 50, 0)
    assert found.within_chance is good
    assert 5 < len(found.bins) <= calibration.BINS
    assert sum(one.rate.n for one in found.bins) == found.n == 3000
    assert found.brier.value < found.constant if good else found.ece.low > 0.05


def test_isotonic_keeps_the_order():
    random = np.random.default_rng(1)
    odds = random.normal(size=500)
    y = random.random(500) < expit(2 * odds)
    new = np.sort(random.normal(size=50))
    risk = calibration.isotonic(odds, y, new)
    assert (np.diff(risk) >= 0).all()
    assert 0 <= risk.min() <= risk.max() <= 1


def planted_odds(ceiling, seed=0, count=6000):
    """Log-odds, and labels that they would fit but for a ceiling: the surest words are hallucinated no more often."""
    random = np.random.default_rng(seed)
    odds = random.normal(-3, 4, count)
    y = random.random(count) < ceiling * expit(odds)
    return odds, Data(odds[:, None], y, np.arange(count) // 5)


def test_a_calibration_bends_where_that_holds_on_other_pictures():
    odds, data = planted_odds(ceiling=0.9)
    line, straight = calibration_of(odds, data, may_bend=True), calibration_of(odds, data)
    assert len(line.bends) == 2 * len(KNOTS)
    new, test = planted_odds(ceiling=0.9, seed=1)
    assert calibration.ece(expit(line(new)), test.y) < calibration.ece(expit(straight(new)), test.y) / 1.5
    assert calibration.ece(expit(line(new)), test.y) < 1.3 * calibration.by_chance(expit(line(new)), 0)[1]
    assert (np.diff(line(np.linspace(-30, 30, 400))) > 0).all()  # no order changes
    assert (straight.slope, straight.offset) == platt(odds, data.y)
    assert not len(straight.bends)


def test_a_saved_model_bends_as_the_fitted_one(tmp_path):
    odds, data = planted_odds(ceiling=0.9)
    values = np.stack([odds, np.zeros_like(odds)], axis=1)
    kept = {"groups": (), "layers": ()}
    model = fit(Data(values, data.y, data.picture, ("a", "b")), may_bend=True, **kept).model
    assert len(model.bends)
    np.testing.assert_allclose(model.probability(values), expit(model.calibrated(model.log_odds(values))))
    model.save(tmp_path / "risk.safetensors")
    again = RiskModel.load(tmp_path / "risk.safetensors")
    np.testing.assert_array_equal(again.probability(values), model.probability(values))
    for bends in ([1.0], [3.0, 0.1, 1.0, 0.1], [0.0, -5.0]):
        dataclasses.replace(model, bends=np.array(bends)).save(tmp_path / "bad.safetensors")
        with pytest.raises(InputError, match="bends"):
            RiskModel.load(tmp_path / "bad.safetensors")
