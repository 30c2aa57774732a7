"""The rule of falls: SGRS's threshold read over a finished text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.report.falls import falls, thresholds

NAN = math.nan


def test_first_scored_token_has_no_threshold():
    assert [math.isnan(value) for value in thresholds([NAN, 0.4, 0.2])] == [True, True, False]


def test_threshold_is_alpha_times_the_mean_of_the_last_window():
    found = thresholds([1.0, 2.0, 3.0, 4.0], alpha=0.5, window=2)
    assert found[1:] == pytest.approx([0.5, 0.75, 1.25])


def test_unscored_tokens_stay_out_of_the_history():
    assert thresholds([1.0, NAN, 3.0], alpha=1, window=2)[2] == 1.0


def test_a_token_at_its_threshold_does_not_fall():
    assert falls([1.0, 0.6, 0.4]) == [False, False, True]


@given(st.lists(st.floats(0.001, 1.0) | st.just(NAN), max_size=40), st.floats(0.05, 1.0))
def test_scaling_all_scores_moves_no_fall(scores, alpha):
    # A power of two scales floats exactly.
    assert falls([8 * score for score in scores], alpha) == falls(scores, alpha)


@given(st.lists(st.floats(0.001, 1.0), max_size=40))
def test_nothing_falls_at_alpha_zero(scores):
    assert not any(falls(scores, alpha=0))
