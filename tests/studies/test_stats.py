"""Areas, precision and intervals against scikit-learn, brute force and a simulation whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies.areas import Areas


@st.composite
def labelled(draw, groups=4, strata=3):
    """(score with ties, y with both kinds, group, stratum, whole weights) of some rows."""
    count = draw(st.integers(2, 25))
    column = lambda low, high: np.array(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))  # noqa: E731
    score, y = column(-3, 3) / 2, column(0, 1).astype(bool)
    y[0], y[1] = True, False
    return score, y, column(0, groups - 1), column(0, strata - 1), column(0, 3)


def area_by_hand(score, y, strata, weights):
    won = pairs = 0.0
    for i in np.flatnonzero(y):
        for j in np.flatnonzero(~y):
            if strata[i] == strata[j]:
                weight = weights[i] * weights[j]
                pairs += weight
                won += weight * ((score[i] > score[j]) + (score[i] == score[j]) / 2)
    return won / pairs if pairs else np.nan


@given(labelled())
def test_auroc_is_the_share_of_pairs_won(rows):
    score, y, _, strata, weights = rows
    found = stats.auroc(score, y, strata)(weights[None].astype(float))[0]
    np.testing.assert_allclose(found, area_by_hand(score, y, strata, weights), rtol=1e-9)


@given(labelled())
def test_auroc_and_average_precision_are_those_of_scikit_learn(rows):
    score, y, _, _, weights = rows
    weights = weights + 1.0
    for of, reference in (
        (stats.auroc, roc_auc_score),
        (stats.average_precision, average_precision_score),
    ):
        expected = reference(y, score, sample_weight=weights)
        np.testing.assert_allclose(of(score, y)(weights[None])[0], expected, rtol=1e-9)


@settings(max_examples=40)
@given(labelled(), st.booleans())
def test_areas_are_those_of_stats_resample_by_resample(rows, stratified):
    score, y, groups, strata, _ = rows
    resampler = stats.Resampler(groups, resamples=20, seed=3)
    found = Areas(y, resampler).auroc(score, strata if stratified else None)
    one = stats.auroc(score, y, strata if stratified else None)
    np.testing.assert_allclose(found.value, one(np.ones((1, len(y))))[0], rtol=1e-9)
    np.testing.assert_allclose(found.draws, resampler.draws(one), rtol=1e-9)


def test_areas_of_one_kind_only_are_not_there():
    found = Areas(np.ones(4, bool), stats.Resampler(np.arange(4), 10)).auroc(np.arange(4.0))
    assert np.isnan(found.value)
    assert np.isnan(found.estimate().low)


def test_resamples_are_the_same_in_blocks_and_at_once():
    resampler = stats.Resampler(np.array([0, 0, 1, 2]), resamples=30, seed=5)
    values = np.array([1.0, 2.0, 3.0, 4.0])
    statistic = stats.mean(values)
    (at_once,) = resampler.redraws(block=30)
    np.testing.assert_allclose(resampler.draws(statistic, block=7), statistic(at_once[:, resampler.member]))
    many = np.arange(24) // 2
    statistic = stats.mean(np.arange(24.0))
    assert stats.Resampler(many, 40, 5).estimate(statistic) == stats.Resampler(3 * many + 5, 40, 5).estimate(statistic)


def test_intervals_cover_where_words_of_a_picture_go_together():
    """40 pictures of 8 words that share most of what they are: intervals over words are far too narrow."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 8)
    covered = {"pictures": 0, "words": 0}
    trials = 150
    for _ in range(trials):
        values = random.normal(size=40)[groups] + 0.3 * random.normal(size=len(groups))
        for name, of in (("pictures", groups), ("words", np.arange(len(groups)))):
            found = stats.Resampler(of, 200, 1).estimate(stats.mean(values))
            covered[name] += found.low <= 0 <= found.high
    assert 0.87 <= covered["pictures"] / trials <= 1
    assert covered["words"] / trials < 0.75


def test_a_difference_is_paired():
    random = np.random.default_rng(1)
    values = random.normal(size=50)
    found = stats.Resampler(np.arange(50), 300).difference(stats.mean(values + 0.1), stats.mean(values))
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)


def test_a_figure_that_is_mostly_undefined_has_no_interval():
    y = np.zeros(30, bool)
    y[0] = True  # a third of the resamples hold no positive
    found = stats.Resampler(np.arange(30), 200).estimate(stats.auroc(np.arange(30.0), y))
    assert found.value == 0
    assert np.isnan(found.low)
    assert not found.excludes(0.5)


@given(st.lists(st.integers(0, 20), min_size=2, max_size=40), st.integers(2, 10))
def test_bins_keep_the_order_of_scores(scores, count):
    score = np.array(scores, dtype=float)
    order = np.argsort(score)
    for bins in (stats.equal_width(score, count), stats.quantile_bins(score, count)):
        assert (np.diff(bins[order]) >= 0).all()
        assert bins.min() >= 0
        assert bins.max() < count


def test_quantile_bins_are_of_like_size():
    assert np.bincount(stats.quantile_bins(np.arange(100.0), 10)).tolist() == [10] * 10
