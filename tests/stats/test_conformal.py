"""Thresholds against what they promise: average losses over many calibration sets, few pictures, shrinkage's ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.stats.conformal import (
    choose_kappa,
    class_rates,
    control_threshold,
    pass_threshold,
    picture_threshold,
    score_threshold,
)

DRAWS = 2000
SCORES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.8]), max_size=5).map(np.array)
PICTURES = st.lists(SCORES, max_size=12)
SHARES = st.floats(0, 1)


def _error(losses: np.ndarray) -> float:
    return float(losses.std() / math.sqrt(len(losses)))


@pytest.mark.parametrize(("n", "epsilon"), [(19, 0.05), (50, 0.1), (200, 0.02)])
def test_single_scores_exceed_the_threshold_as_often_as_promised(n, epsilon):
    random = np.random.default_rng(0)
    lost = np.array([random.random() > score_threshold(random.random(n), epsilon) for _ in range(DRAWS)], float)
    assert lost.mean() <= epsilon + 2 * _error(lost)
    assert lost.mean() >= epsilon - 1 / (n + 1) - 3 * _error(lost), "no more careful than it must be"


@pytest.mark.parametrize(("n", "epsilon"), [(40, 0.05), (150, 0.02)])
def test_the_loss_of_a_new_picture_is_what_was_promised(n, epsilon):
    """Mentions of one picture depend on each other: some pictures are hard as a whole."""
    random = np.random.default_rng(1)

    def picture() -> np.ndarray:
        return np.clip(random.beta(1, 12) + 0.1 * random.random(random.integers(0, 7)), 0, 1)

    losses = []
    for _ in range(DRAWS):
        t = picture_threshold([picture() for _ in range(n)], epsilon)
        new = picture()
        losses.append(float((new > t).mean()) if len(new) else 0.0)
    losses = np.array(losses)
    assert losses.mean() <= epsilon
    assert losses.mean() >= epsilon - 2 / (n + 1) - 3 * _error(losses)


def test_measured_losses_are_controlled_as_promised():
    """Losses that are not monotone in the threshold, as those of a procedure that writes text anew."""
    random = np.random.default_rng(2)
    grid = [0.1, 0.2, 0.4, 0.6, 0.8]

    def picture() -> np.ndarray:
        return np.clip(random.random() * (1 - np.array(grid)) ** 3 + random.normal(0, 0.02, len(grid)), 0, 1)

    losses = []
    for _ in range(DRAWS):
        chosen = control_threshold(np.array([picture() for _ in range(80)]), grid, 0.05)
        losses.append(0.0 if math.isinf(chosen) else picture()[grid.index(chosen)])
    assert 0 < np.mean(losses) <= 0.05


@given(PICTURES, SHARES)
def test_it_is_the_smallest_threshold_that_keeps_the_sum(pictures, epsilon):
    """The definition, tried at every score and below all of them."""

    def allowed(t: float) -> bool:
        total = sum(float((scores > t).mean()) if len(scores) else 0.0 for scores in pictures)
        return (total + 1) / (len(pictures) + 1) <= epsilon + 1e-9

    every = [-math.inf, *sorted({s for scores in pictures for s in scores.tolist()}), math.inf]
    assert picture_threshold(pictures, epsilon) == next((t for t in every if allowed(t)), math.inf)


@given(PICTURES, SHARES)
def test_what_passes_unasked_is_the_same_from_below(pictures, delta):
    low = pass_threshold(pictures, delta)
    total = sum(float((scores < low).mean()) if len(scores) else 0.0 for scores in pictures)
    assert low == -math.inf or (total + 1) / (len(pictures) + 1) <= delta + 1e-9


@pytest.mark.parametrize("n", [0, 1, 5, 98])
def test_of_few_nothing_is_flagged(n):
    """1 % cannot be promised of fewer than 99."""
    scores = np.linspace(0, 1, n)
    assert score_threshold(scores, 0.01) == math.inf
    assert picture_threshold([scores[i : i + 1] for i in range(n)], 0.01) == math.inf
    assert pass_threshold([scores[i : i + 1] for i in range(n)], 0.01) == -math.inf
    assert control_threshold(np.zeros((n, 2)), [0.1, 0.2], 0.01) == math.inf


def test_of_just_enough_something_is():
    scores = np.linspace(0, 1, 99)
    assert score_threshold(scores, 0.01) == 1.0
    assert picture_threshold([scores[i : i + 1] for i in range(99)], 0.01) == 1.0
    assert control_threshold(np.zeros((99, 2)), [0.1, 0.2], 0.01) == 0.1


def test_nothing_may_be_lost_and_nothing_is():
    assert score_threshold(np.ones(1000), 0) == math.inf
    assert picture_threshold([np.ones(3)] * 1000, 0) == math.inf


def test_a_picture_counts_once_however_many_objects_it_has():
    many, few = [np.full(50, 0.9)], [np.array([0.1])] * 99
    assert picture_threshold(many + few, 0.01) == 0.9
    assert picture_threshold(many + few, 0.02) == 0.1


def test_losses_that_rise_again_are_held_against_the_lower_thresholds():
    losses = np.array([[0.0, 0.5, 0.0]] * 200)
    assert control_threshold(losses, [0.1, 0.2, 0.3], 0.1) == 0.3


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0.1, 1000))
def test_rates_lie_between_their_own_and_the_overall_one(wrong, right, kappa):
    rates = class_rates({"dog": wrong + right, "cat": 10}, {"dog": wrong, "cat": 3}, kappa)
    own = wrong / (wrong + right) if wrong + right else rates.overall
    low, high = sorted((own, rates.overall))
    assert low - 1e-12 <= rates.rate("dog") <= high + 1e-12


def test_the_ends_of_shrinkage():
    counts = {"dog": 10**9, "cat": 20}, {"dog": 10**8, "cat": 10}
    rates = class_rates(*counts, kappa=20)
    assert rates.rate("giraffe") == rates.overall, "never mentioned: the overall rate"
    assert rates.shift("giraffe") == 0
    assert rates.rate("dog") == pytest.approx(0.1, abs=1e-6), "mentioned for ever: its own rate"
    assert rates.rate("cat") == pytest.approx((10 + 20 * rates.overall) / 40)
    assert class_rates(*counts, kappa=0).rate("cat") == 0.5
    assert class_rates(*counts, kappa=math.inf).rate("cat") == rates.overall


def test_kappa_is_large_where_classes_are_alike_and_small_where_they_differ():
    random = np.random.default_rng(0)
    names = [f"class {i}" for i in range(12)]

    def drawn(rate_of):
        return [{name: (2, int(random.binomial(2, rate_of(i)))) for i, name in enumerate(names)} for _ in range(60)]

    assert choose_kappa(drawn(lambda i: 0.2)) >= 50
    assert choose_kappa(drawn(lambda i: 0.02 if i % 2 else 0.6)) <= 10


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: score_threshold(np.ones(3), 1.5), SettingError),
        (lambda: score_threshold(np.array([0.1, math.nan]), 0.1), InputError),
        (lambda: picture_threshold([np.array([math.inf])], 0.9), InputError),
        (lambda: control_threshold(np.zeros((3, 2)), [0.2, 0.1], 0.1), SettingError),
        (lambda: control_threshold(np.zeros((3, 2)), [0.1], 0.1), InputError),
        (lambda: control_threshold(np.full((3, 1), 2.0), [0.1], 0.1), InputError),
        (lambda: class_rates({}, {}), InputError),
        (lambda: class_rates({"dog": 1}, {"dog": 2}), InputError),
        (lambda: class_rates({"dog": 1}, {}, -1), SettingError),
        (lambda: choose_kappa([{"dog": (1, 0)}]), InputError),
    ],
)
def test_what_cannot_be_used_is_refused(call, error):
    with pytest.raises(error):
        call()
