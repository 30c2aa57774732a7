"""The bootstrap's properties, and that it agrees with one written as a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.files.records import Problems
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import f1, ratio, tabulate

FIGURES = {"rate": lambda total: ratio(total["hits"], total["tries"])}


def table(rows, stratum=None):
    counts = ((image, {"hits": hits, "tries": tries}) for image, (hits, tries) in enumerate(rows))
    return tabulate(counts, ["hits", "tries"], FIGURES, stratum)


ROWS = st.lists(st.integers(0, 5).flatmap(lambda t: st.tuples(st.integers(0, t), st.just(t))), min_size=1, max_size=30)


@given(rows=ROWS, seed=st.integers(0, 99))
@settings(deadline=None)
def test_an_interval_lies_within_the_extremes_of_its_images(rows, seed):
    low, high = Bootstrap(resamples=200, seed=seed).intervals(table(rows))["rate"]
    rates = [hits / tries for hits, tries in rows if tries]
    if not math.isnan(low):
        assert min(rates) - 1e-12 <= low <= high <= max(rates) + 1e-12


@given(seed=st.integers(0, 30))
@settings(deadline=None, max_examples=15)
def test_an_interval_of_plain_data_holds_its_figure(seed):
    generator = np.random.default_rng(seed)
    rows = [(generator.binomial(10, 0.3), 10) for _ in range(60)]
    counts = table(rows)
    low, high = Bootstrap(resamples=400, seed=seed).intervals(counts)["rate"]
    assert low < counts.values()["rate"] < high


def test_as_a_loop_over_drawn_images():
    """A loop that draws images one by one has the same distribution: quantiles agree to Monte Carlo error."""
    generator = np.random.default_rng(1)
    rows = [(generator.binomial(tries, 0.4), tries) for tries in generator.integers(1, 20, size=80)]
    counts = np.array(rows, float)
    drawn = []
    for _ in range(4000):
        sums = counts[generator.integers(0, len(rows), size=len(rows))].sum(axis=0)
        drawn.append(sums[0] / sums[1])
    assert Bootstrap(resamples=4000).intervals(table(rows))["rate"] == pytest.approx(
        list(np.percentile(drawn, [2.5, 97.5])), abs=0.004
    )


def test_width_is_that_of_the_normal_approximation():
    rows = [(int(n < 200), 1) for n in range(500)]
    low, high = Bootstrap(resamples=4000).intervals(table(rows))["rate"]
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(0.4 * 0.6 / 500), rel=0.05)


def test_the_seed_fixes_it_and_the_level_widens_it():
    counts = table([(n % 7, 7 + n) for n in range(40)])
    assert Bootstrap(seed=3).intervals(counts) == Bootstrap(seed=3).intervals(counts)
    assert Bootstrap(seed=3).intervals(counts) != Bootstrap(seed=4).intervals(counts)
    narrow, wide = (Bootstrap(level=level).intervals(counts)["rate"] for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_blocks_do_not_change_the_draws(monkeypatch):
    counts = table([(n % 3, 3) for n in range(40)])
    whole = Bootstrap(resamples=300).intervals(counts)
    monkeypatch.setattr("lvlm_saliency.stats.bootstrap._BLOCK", 1000)
    assert Bootstrap(resamples=300).intervals(counts) == whole


def test_paired_differences_are_of_the_same_images():
    rows = [(n % 4, 4) for n in range(50)]
    one = table(rows)
    shifted = table([(hits, 4) for hits, _ in rows])
    assert Bootstrap().differences(one, shifted)["rate"] == {"difference": 0.0, "interval": [0.0, 0.0]}
    better = table([(min(hits + 1, 4), 4) for hits, _ in rows])
    difference = Bootstrap().differences(better, one)["rate"]
    assert 0 < difference["interval"][0] < difference["difference"] < difference["interval"][1] < 0.2500001
    apart = np.subtract(*(np.diff(Bootstrap().intervals(counts)["rate"])[0] for counts in (better, one)))
    assert np.diff(difference["interval"])[0] < np.diff(Bootstrap().intervals(one)["rate"])[0] + abs(apart)
    reverse = Bootstrap().differences(one, better)["rate"]
    assert reverse["interval"] == pytest.approx([-bound for bound in difference["interval"][::-1]])


def test_order_of_images_does_not_matter_to_a_pair():
    one = table([(n % 4, 4) for n in range(30)])
    other = tabulate([(n, {"hits": n % 3, "tries": 4}) for n in reversed(range(30))], ["hits", "tries"], FIGURES)
    again = other.take(one.images)
    assert Bootstrap().differences(one, other) == Bootstrap().differences(one, again)
    with pytest.raises(InputError, match="not scored on the same images: 29 have only one"):
        Bootstrap().differences(one, one.take([3]))
    problems = Problems("skip")
    assert Bootstrap().differences(one, other.take([3, 5]), problems)["rate"]["difference"] == (3 + 1) / 8 - 2 / 8
    assert problems.skipped == {"unpaired": 28}


def test_all_at_once_is_one_by_one():
    generator = np.random.default_rng(1)
    base, *others = (table([(int(n), 5) for n in generator.integers(0, 6, 40)]) for _ in range(4))
    shuffled = others[0].take(tuple(reversed(others[0].images)))
    together = Bootstrap(200).differences_of_all({"a": shuffled, "b": others[1], "c": others[2]}, base)
    for label, one in zip("abc", others, strict=True):
        assert together[label] == Bootstrap(200).differences(one, base)


def test_strata_keep_their_sizes():
    """With one image a stratum nothing can vary."""
    rows = [(n, 10) for n in range(8)]
    assert Bootstrap().intervals(table(rows, stratum=lambda n: n))["rate"] == [0.35, 0.35]
    low, high = Bootstrap().intervals(table(rows))["rate"]
    assert low < 0.35 < high


def test_one_image_is_one_row():
    counts = tabulate([("a", {"hits": 1, "tries": 2}), ("a", {"tries": 3})], ["hits", "tries"], FIGURES)
    assert counts.images == ("a",)
    assert counts.values() == {"rate": 0.2}


def test_no_intervals_and_nonsense():
    assert all(map(math.isnan, Bootstrap(resamples=0).intervals(table([(1, 2)]))["rate"]))
    assert all(map(math.isnan, Bootstrap().intervals(table([(0, 0)]))["rate"]))
    for wrong in ({"resamples": -1}, {"level": 1.0}, {"level": 0}, {"seed": -1}):
        with pytest.raises(SettingError):
            Bootstrap(**wrong)


def test_ratios_without_a_denominator():
    assert math.isnan(ratio(1, 0))
    assert ratio(np.array([1.0, 2.0]), np.array([2.0, 0.0])).tolist()[0] == 0.5
    assert math.isnan(f1(np.array(0.0), np.array(0.0)))
