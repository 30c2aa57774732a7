"""An interval of four pictures is no verdict: nothing is judged, and no mark is set, below a stated number."""

from __future__ import annotations

import numpy as np
import pytest

from lvlm_saliency.evaluation.scoring import difference
from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.pages.figures import too_few, unjudged, verdict
from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.stats.bootstrap import MIN_IMAGES, MIN_RESAMPLES, Bootstrap
from lvlm_saliency.stats.counts import CountTable
from lvlm_saliency.studies.areas import Areas, simultaneous
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS
from lvlm_saliency.studies.tune.findings import judged
from lvlm_saliency.studies.verdicts import absent, directional


def rows(pictures):
    """Words of so many pictures whose score separates without a single error."""
    group = np.repeat(np.arange(pictures), 6)
    y = np.tile([True, False], 3 * pictures)
    return group, y, y + np.linspace(0, 0.1, len(y))


@pytest.mark.parametrize(
    ("pictures", "said"), [(1, False), (4, False), (MIN_IMAGES - 1, False), (MIN_IMAGES, True), (40, True)]
)
def test_studies_judge_from_a_number_of_pictures_on(pictures, said):
    group, y, score = rows(pictures)
    resampler = stats.Resampler(group, resamples=200)
    for found in (resampler.estimate(stats.auroc(score, y)), Areas(y, resampler).auroc(score).estimate()):
        assert found.value == 1.0
        assert np.isnan([found.low, found.high]).all() != said
        assert directional(found) == (HOLDS if said else CANNOT_TELL)
        assert absent([found]) == (FAILS if said else CANNOT_TELL)
        assert not said or found.excludes(0.5)
        assert said or not found.excludes(0.5)
        assert ("(no interval)" in str(found)) != said


def test_without_resamples_nothing_is_judged():
    group, y, score = rows(40)
    found = stats.Resampler(group, resamples=0).estimate(stats.auroc(score, y))
    assert directional(found) == CANNOT_TELL


@pytest.mark.parametrize("resamples", [1, 2, MIN_RESAMPLES - 1, MIN_RESAMPLES])
def test_an_interval_needs_resamples_in_its_tails(resamples):
    """One resample is an interval of no width, which leaves out any value."""
    group, y, score = rows(40)
    resampler, few = stats.Resampler(group, resamples), resamples < MIN_RESAMPLES
    areas = Areas(y, resampler).auroc(score)
    for found in (resampler.estimate(stats.auroc(score, y)), areas.estimate()):
        assert directional(found) == (CANNOT_TELL if few else HOLDS)
    noisy = Areas(y, resampler).auroc(score + np.random.default_rng(0).normal(size=len(y)))
    assert np.isnan(simultaneous({"it": noisy})["it"].low) == few
    one = difference(Bootstrap(resamples), captions(20, 1), captions(20, 2))["CHAIR_i"]
    assert verdict(FIGURES["CHAIR_i"], one) == ("" if few else "better")
    assert unjudged(one) == ("not tested: no interval" if few else "")


def captions(pictures, wrong):
    counts = np.column_stack([np.full(pictures, wrong), np.full(pictures, 5)]).astype(float)
    figures = {"CHAIR_i": lambda sums: sums["wrong"] / sums["named"]}
    return CountTable(tuple(range(pictures)), ("wrong", "named"), counts, figures)


@pytest.mark.parametrize("pictures", [4, MIN_IMAGES - 1, MIN_IMAGES])
def test_marks_of_an_evaluation(pictures):
    one = difference(Bootstrap(50), captions(pictures, 1), captions(pictures, 2))["CHAIR_i"]
    figure, few = FIGURES["CHAIR_i"], pictures < MIN_IMAGES
    assert one["pictures"] == pictures
    assert too_few(one) == few
    assert verdict(figure, one) == ("" if few else "better")
    assert judged(one, 1) == (CANNOT_TELL if few else HOLDS)
    assert unjudged(one) == (f"not judged: fewer than {MIN_IMAGES} pictures" if few else "")


def test_without_resamples_the_report_says_that_nothing_was_tested():
    one = difference(Bootstrap(0), captions(20, 1), captions(20, 2))["CHAIR_i"]
    assert verdict(FIGURES["CHAIR_i"], one) == ""
    assert unjudged(one) == "not tested: no interval"
