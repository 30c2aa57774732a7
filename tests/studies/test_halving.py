"""Plans, draws and halving on objectives whose best setting is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
from lvlm_saliency.studies.tune.halving import LEAST, captions, halve, plan
from lvlm_saliency.studies.tune.ranges import RANGES, Band, OneOf, Real, Space, Whole
from lvlm_saliency.studies.tune.search import draw_candidates

LAYERS = [0, 1, 2, 3, 4, 5]


@given(st.integers(1, 60), st.integers(2, 5), st.integers(1, 20_000))
def test_a_plan_stays_within_its_budget_and_uses_most_of_it(count, keep, budget):
    much = plan(count, keep, 10**6)
    least = captions(much) // much[0].pictures * LEAST
    if budget < least:
        with pytest.raises(SettingError, match=f"budget={budget} is too small.* take {least} captions"):
            plan(count, keep, budget)
        budget = least
    rungs = plan(count, keep, budget)
    assert captions(rungs) <= budget
    larger = [(rung.settings + 2) * rung.pictures * (1 + 1 / rungs[0].pictures) for rung in rungs]
    assert sum(larger) > budget - 1e-6, "one more picture in the first rung would still have been paid for"
    assert rungs[0].settings == count
    assert rungs[0].pictures >= LEAST
    assert rungs[-1].settings <= 2
    assert rungs[-1].kept == 1
    for one, following in pairwise(rungs):
        assert following.first == one.seen, "every rung brings fresh pictures"
        assert following.settings == one.kept == -(-one.settings // keep)
        assert following.seen == keep * one.seen


def test_halving_finds_the_planted_best_that_one_rung_of_the_same_price_misses():
    """Each picture tells the truth with noise; the best of 18 is ahead by little."""
    found = {"halved": 0, "at once": 0}
    rungs = plan(18, 3, 2000, baselines=0)
    for seed in range(40):
        random = np.random.default_rng(seed)
        truth = np.linspace(0, 1, 18)
        random.shuffle(truth)
        seen = {arm: np.empty(0) for arm in range(18)}

        def judge(rung, alive, seen=seen, truth=truth, random=random):
            for arm in alive:
                seen[arm] = np.r_[seen[arm], random.normal(truth[arm], 1.0, rung.pictures)]
            return [seen[arm].mean() for arm in alive]

        found["halved"] += truth[halve(range(18), rungs, judge)[0]] == 0
        each = captions(rungs, 0) // 18
        found["at once"] += truth[np.argmin([random.normal(t, 1.0, each).mean() for t in truth])] == 0
        spent = sum(map(len, seen.values()))
        assert spent == captions(rungs, 0)
    assert found["halved"] > found["at once"]
    assert found["halved"] >= 25


def test_without_noise_the_best_always_wins_and_ties_keep_their_order():
    rungs = plan(9, 3, 400)
    assert halve(list("ihgfedcba"), rungs, lambda rung, alive: alive)[0] == "a"
    assert halve(list("abcdefghi"), rungs, lambda rung, alive: [0] * len(alive))[0] == "a"


def test_only_those_that_go_on_are_judged_again():
    asked = []
    halve(range(9), plan(9, 3, 400), lambda rung, alive: asked.append(list(alive)) or [-arm for arm in alive])
    assert asked == [list(range(9)), [8, 7, 6], [8]]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_draws_stay_in_their_ranges(seed):
    random = np.random.default_rng(seed)
    assert 0.05 <= Real(0.05, 2, log=True).draw(random, LAYERS) <= 2
    assert 0.05 <= Real(0.05, 1).draw(random, LAYERS) <= 1
    assert Whole(2, 5).draw(random, LAYERS) in range(2, 6)
    assert Whole(2, 64, log=True).draw(random, LAYERS) in range(2, 65)
    assert OneOf(("a", "b")).draw(random, LAYERS) in "ab"
    band = Band(usual=0).draw(random, LAYERS)
    assert band == list(range(band[0], band[-1] + 1))
    assert set(band) <= set(LAYERS)


def test_ends_of_whole_ranges_are_drawn_too():
    random = np.random.default_rng(0)
    assert {Whole(2, 5).draw(random, LAYERS) for _ in range(200)} == {2, 3, 4, 5}
    assert {Whole(2, 4, log=True).draw(random, LAYERS) for _ in range(200)} == {2, 3, 4}


@pytest.mark.parametrize("name", list(RANGES))
def test_every_range_is_of_a_setting_that_takes_its_values(name):
    space = Space(name)
    random = np.random.default_rng(1)
    drawn = [space.draw(random, LAYERS)[0] for _ in range(40)]
    assert len(set(map(repr, drawn))) > 20
    assert {method.name for method in drawn} == {name}


def test_candidates_begin_with_the_usual_setting_and_are_seeded_and_distinct():
    first, again, other = (draw_candidates(Space("sgrs+locore"), 12, seed, LAYERS, "llava") for seed in (0, 0, 1))
    assert [one.label for one in first] == [one.label for one in again]
    assert [one.label for one in first][1:] != [one.label for one in other][1:]
    assert first[0].label == "sgrs+locore"
    assert len({one.label for one in first}) == 12


def test_the_usual_setting_is_the_familys():
    assert Space("locore").usual("qwen2_vl") == [ls.LocoRE(beta=0.2)]
    assert Space("locore").usual("llava") == [ls.LocoRE(beta=0.15)]
    assert Space("locore:beta=0.5").usual("qwen2_vl") == [ls.LocoRE(beta=0.5)]


def test_held_settings_stay_and_a_small_space_gives_fewer_candidates():
    space = Space("locore:beta=0.3,window=8,layers=all")
    found = draw_candidates(space, 10, 0, LAYERS, "llava")
    assert sorted(one.methods[0].space for one in found) == ["logit", "probability", "unnormalised"]
    assert {(one.methods[0].beta, one.methods[0].window) for one in found} == {(0.3, 8)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("locor", "did you mean 'locore'"),
        ("beam", "no ranges"),
        ("locore:bta=1", "did you mean 'beta'"),
        ("locore:beta=-1", "beta must be"),
        ("tame:gain=1,layers=2", "nothing is left to find"),
        ("sgrs/sgrs", "sgrs"),
    ],
)
def test_wrong_spaces_are_one_clear_line(text, words):
    with pytest.raises(SettingError, match=words):
        Space(text)
