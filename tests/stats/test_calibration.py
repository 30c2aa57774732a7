"""The interval of a calibration error holds the truth, and does not take chance for a fault."""

from __future__ import annotations

import numpy as np
import pytest

from lvlm_saliency.stats import calibration
from lvlm_saliency.stats.clusters import Resampler


@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_the_interval_holds_the_error_that_many_more_rows_show(shift):
    held = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        risk = random.beta(0.3, 0.9, 300)
        y = random.random(300) < (1 - shift) * risk
        chance = calibration.by_chance(risk, seed)[1]
        found = calibration.error(Resampler(np.arange(300), 400, seed), risk, y, chance)
        many = random.beta(0.3, 0.9, 100_000)
        truth = calibration.ece(many, random.random(100_000) < (1 - shift) * many)
        assert 0 <= found.low <= found.value <= found.high
        held += found.low <= truth <= found.high
    assert held >= 35  # of 38 expected


def test_too_few_groups_give_no_interval():
    found = calibration.error(Resampler(np.zeros(50), 100, 0), np.full(50, 0.5), np.arange(50) % 2 == 0, 0.1)
    assert found.value == pytest.approx(0)
    assert np.isnan([found.low, found.high]).all()
