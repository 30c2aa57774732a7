"""Trained detectors: planted signals are learned, position gives HaloProbe's inner part nothing, and formulas hold."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import lvlm_saliency as ls
from detection.full_reading import WORD, full
from detection.made import reference
from lvlm_saliency.detection.base import Depth
from lvlm_saliency.detection.dhcp import pooled
from lvlm_saliency.detection.fitted import Cases, perceptron
from lvlm_saliency.detection.haloprobe import Factorised, balanced
from lvlm_saliency.detection.overthinking_trained import attended
from lvlm_saliency.detection.reading import Reading
from lvlm_saliency.detection.registry import detector_class
from lvlm_saliency.errors import SettingError

TRAINED = [name for name in ls.detectors() if detector_class(name).fit == "trained" and name != "risk"]


def planted(one, count=300, seed=0):
    """Cases whose label can be seen in the last tenth of the detector's features."""
    random = np.random.default_rng(seed)
    width = len(one.features(full(), WORD))
    values = random.normal(size=(count, width))
    values[:, :3] = np.abs(values[:, :3])  # HaloProbe's first ones are a flag, a count and a position
    values[:, 1] = random.integers(1, 5, count)
    truth = random.normal(size=count)
    values[:, -max(1, width // 10) :] += 2 * truth[:, None]
    y = random.random(count) < 1 / (1 + np.exp(-3 * truth))
    return Cases(values, y, np.arange(count) // 3, np.full(count, "dog", dtype=object))


@pytest.mark.parametrize("name", TRAINED)
def test_a_planted_signal_is_learned_and_an_unfitted_one_refuses(name):
    one = ls.detector(name, **({"epochs": 30} if name in ("svar-trained", "dhcp", "haloprobe") else {}))
    with pytest.raises(SettingError, match="fitted"):
        one.score(full(), WORD)
    cases = planted(one)
    fitted = one.fitted(cases)
    new = planted(one, seed=1)
    assert roc_auc_score(new.y, fitted.risks(new.values, new.names)) > 0.65
    assert math.isfinite(fitted.score(full(), WORD))
    assert math.isnan(fitted.score(full(), dataclasses.replace(WORD, end=9)))
    assert one.fitted(cases, seed=0).score(full(), WORD) == fitted.score(full(), WORD)
    with pytest.raises(SettingError, match="subtokens"):
        dataclasses.replace(fitted, subtokens="mean").score(full(), WORD)


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "haloprobe"])
def test_features_are_read_at_p_or_at_a(name):
    if "A" not in detector_class(name).places:
        return
    before, at = (ls.detector(name, where=where).features(full(), WORD) for where in ("P", "A"))
    later = ls.detector(name, where="P").features(full(), dataclasses.replace(WORD, start=2))
    assert not np.array_equal(before, at)
    if name not in ("metatoken",):
        assert np.allclose(at, later, equal_nan=True)


def test_what_the_picture_says_of_a_word():
    """Of two hidden states: lens, cosines at P and at A, and the lens where the word looks, by hand."""
    reading = full()
    one = ls.detector("grounded-risk")
    base = ls.detector("causal-risk", hidden=True).features(reading, WORD)
    found = one.features(reading, WORD)
    np.testing.assert_array_equal(found[: len(base)], base)
    assert len(found) == len(base) + 2 * 11
    token, index = WORD.start, 2
    lens = reading.image_lens[index, 1.0]
    log_p = lens.logits[:, list(lens.ids).index(reading.answer[token])] - lens.size
    seen = reading.image_states[index].astype(float)
    by_hand = [log_p.max(), log_p.max(), log_p.mean()]  # 27 of 576 patches are one of four
    for row in (token, token + 1):
        state = reading.text[index][row]
        cosine = seen @ state / np.linalg.norm(seen, axis=1) / np.linalg.norm(state)
        by_hand += [cosine.max(), cosine.max(), cosine.mean()]
    for row in (token, token + 1):
        weights = reading.attention[index - 1][:, row].mean(0)[reading.image]
        by_hand.append(weights @ log_p / weights.sum())
    assert found[len(base) : len(base) + 11] == pytest.approx(by_hand, rel=1e-4)
    blind = one.features(full(image=slice(0, 0)), WORD)
    assert np.isnan(blind[-22:]).all()
    assert one.needs(Depth.of(32)).kinds[-1] == "the lens"


def test_the_factorised_posterior():
    class Constant:
        def __init__(self, odds):
            self.odds = odds

        def log_odds(self, values):
            return np.full(len(values), self.odds)

    values = np.zeros((1, 9))

    def posterior(f, g):
        logit = [math.log(p / (1 - p)) for p in (f, g)]
        odds = Factorised(Constant(logit[0]), Constant(logit[1])).log_odds(values)[0]
        return 1 / (1 + math.exp(-odds))

    assert posterior(0.3, 0.5) == pytest.approx(0.3)
    assert posterior(0.5, 0.8) == pytest.approx(0.8)
    f, g = 0.3, 0.8
    assert posterior(f, g) == pytest.approx(f * g / (f * g + (1 - f) * (1 - g)))
    assert posterior(0.4, 0.8) > posterior(f, g)
    assert posterior(0.3, 0.9) > posterior(f, g)


def test_balancing_takes_position_out():
    random = np.random.default_rng(0)
    place = random.random(2000)
    y = random.random(2000) < place**2
    occurrence = np.ones(2000)
    rows = balanced(occurrence, place, y, seed=0)
    assert y[rows].mean() == pytest.approx(0.5)
    assert roc_auc_score(y, place) > 0.7
    assert abs(roc_auc_score(y[rows], place[rows]) - 0.5) < 0.08


def test_perceptron_in_numpy_says_what_it_learned():
    random = np.random.default_rng(0)
    values = random.normal(size=(400, 2))
    y = values[:, 0] * values[:, 1] > 0
    model = perceptron(values, y, 0, (32,), 200)
    assert roc_auc_score(y, model.log_odds(values)) > 0.95
    values[0, 0] = np.nan
    assert np.isfinite(model.log_odds(values)).all()


def test_pooled_maps_keep_their_mean():
    random = np.random.default_rng(0)
    for shape in ((24, 24), (8, 8), (17, 23), (5, 30)):
        grid = random.random(shape)
        assert pooled(grid, 12).shape == (12, 12)
        assert pooled(grid, 12).mean() == pytest.approx(grid.mean())
    assert np.allclose(pooled(np.arange(24.0)[:, None].repeat(24, 1), 12)[:, 0], np.arange(12) * 2 + 0.5)


def test_overthinking_attention_against_the_released_code():
    data = reference("overthinking")
    rows = np.array(data["attention_last_rows"])  # [layers, heads, keys]
    start, length = data["image_start"], data["image_length"]
    keys = rows.shape[-1]
    reading = Reading(
        ids=np.arange(keys + 1),
        prompt=keys,
        image=np.arange(start, start + length),
        depth=Depth.of(len(rows)),
        rows=np.arange(1),
        attention={layer: np.pad(one, ((0, 0), (0, 1)))[:, None] for layer, one in enumerate(rows)},
    )
    found = attended(reading, 0)
    assert found[:, 0] == pytest.approx(data["IA"], rel=1e-4)
    assert found[:, 1] == pytest.approx(data["TA"], rel=1e-4)


def test_class_means_take_the_class_out():
    one = ls.detector("lens-cosine")
    names = np.array(["cat", "cat", "dog", "dog"], dtype=object)
    cases = Cases(np.array([[0.1], [0.3], [0.7], [0.9]]), np.array([1, 0, 1, 0], bool), np.arange(4), names)
    fitted = one.fitted(cases)
    found = fitted.risks(np.array([[0.2], [0.8], [0.5]]), np.array(["cat", "dog", "bird"], dtype=object))
    assert found == pytest.approx([0, 0, 0], abs=1e-9)
    assert one.risks(np.array([[0.2]]), names[:1]) == pytest.approx([-0.2])
