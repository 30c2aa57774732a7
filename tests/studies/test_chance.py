"""The control by chance refuses as often as SGRS did, in its place, and is plain top-K sampling where that is never."""

from __future__ import annotations

import math
from collections import Counter

import pytest

import lvlm_saliency as ls
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation.systems import system
from lvlm_saliency.interventions.sgrs import SGRS, rejection
from lvlm_saliency.interventions.sgrs.rejection import Proposal
from lvlm_saliency.studies import gate_records
from lvlm_saliency.studies.ablation import chance
from lvlm_saliency.studies.ablation.chance import FALLBACK, REFUSALS, TESTED_FROM, ChanceSGRS, Refusals
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.settings import StudySettings

RATES = ((0.3,), (0.2, 0.9), (0.4, 0.5, 0.6), (0.1, 0.8, 0.7), (0.25, 0.35, 0.45))
WEIGHTS = [0.4, 0.3, 0.15, 0.1, 0.05]


def constant(rate: float) -> tuple[tuple[float, ...], ...]:
    return tuple((rate,) * min(m, 3) for m in range(1, 6))


def gate(rates=RATES, samples=(0,), **settings):
    return ChanceSGRS(rates=rates, **{"seed": 0, **settings}).selector(None, list(samples))


def proposal(candidates: int) -> Proposal:
    return Proposal(list(range(10, 10 + candidates)), WEIGHTS[:candidates])


def step(candidates: int, rejected: int, fallback: bool = False, tested: bool = True) -> dict:
    return {"tested": tested, "candidates": candidates, "rejected": [0] * rejected, "fallback": fallback}


def test_rates_of_a_hand_made_record():
    steps = [step(5, 0, tested=False), step(5, 0), step(5, 0), step(5, 1), step(5, 3, True), step(2, 2, True)]
    found = Refusals.of([{"steps": steps[:4]}, {"steps": steps[4:]}])
    assert found.made == {(5, 0): 4, (5, 1): 2, (5, 2): 1, (2, 0): 1, (2, 1): 1}
    # One candidate, three and four are no step's: the rates of the first, second and third draw of all steps.
    unseen = (0.6, 0.6667, 1.0)
    assert found.rates(SGRS()) == (unseen[:1], (1.0, 1.0), unseen, unseen, (0.5, 0.5, 1.0))
    assert Refusals.of([{"steps": [step(2, 1), step(2, 0)]}]).rates(SGRS())[4] == (0.5, 0.0, 0.3333)
    assert Refusals.of([]).rates(SGRS()) == constant(0.0)


@pytest.mark.parametrize("candidates", [1, 2, 3, 5])
def test_it_refuses_at_the_rates_that_it_was_given(candidates):
    count = 4000
    acting = gate()
    made, refused = Counter(), Counter()
    for at in range(TESTED_FROM, TESTED_FROM + count):
        taken = acting.taken(0, at, proposal(candidates))
        for draw in range(taken.draws):
            made[draw] += 1
            refused[draw] += draw < len(taken.rejected)
    assert made[0] == count
    for draw, rate in enumerate(RATES[candidates - 1]):
        error = math.sqrt(rate * (1 - rate) / made[draw])
        assert abs(refused[draw] / made[draw] - rate) < 4 * error


def test_refusals_do_not_depend_on_what_is_drawn():
    """Chance must not know a probable candidate from an improbable one."""
    refused, drawn = Counter(), Counter()
    acting = gate(constant(0.5))
    for at in range(TESTED_FROM, TESTED_FROM + 6000):
        taken = acting.taken(0, at, proposal(5))
        first = (taken.rejected or [taken.token_id])[0]
        drawn[first] += 1
        refused[first] += bool(taken.rejected)
    for token, weight in zip(range(10, 15), WEIGHTS, strict=True):
        assert abs(drawn[token] / 6000 - weight) < 4 * math.sqrt(weight * (1 - weight) / 6000)
        assert abs(refused[token] / drawn[token] - 0.5) < 4 * math.sqrt(0.25 / drawn[token])


def test_when_all_is_refused_any_candidate_is_taken():
    acting = gate(constant(1.0))
    found = [acting.taken(0, at, proposal(5)) for at in range(TESTED_FROM, TESTED_FROM + 5000)]
    assert all(one.fallback and one.draws == 3 and len(set(one.rejected)) == 3 for one in found)
    for count in Counter(one.token_id for one in found).values():
        assert abs(count / 5000 - 0.2) < 4 * math.sqrt(0.2 * 0.8 / 5000)
    alone = acting.taken(0, TESTED_FROM, proposal(1))
    assert (alone.token_id, alone.rejected, alone.fallback) == (10, [10], True)  # as SGRS counts it


def test_before_there_is_a_threshold_everything_is_accepted():
    for at in range(TESTED_FROM):
        taken = gate(constant(1.0)).taken(0, at, proposal(5))
        assert (taken.rejected, taken.threshold, taken.score, taken.fallback) == ([], None, None, False)


def test_a_decision_is_a_function_of_seed_sample_and_step_and_not_of_the_batch():
    def seen(acting, place):
        return [acting.taken(place, at, proposal(5)) for at in range(60)]

    together = gate(samples=(7, 8))
    assert seen(together, 1) == seen(gate(samples=(8,)), 0) == seen(together, 1)
    assert seen(together, 0) != seen(together, 1)
    assert seen(gate(samples=(8,), seed=1), 0) != seen(together, 1)


def test_no_number_is_used_for_two_things(monkeypatch):
    used = []

    def noted(seed, sample, at, draw):
        used.append((at, draw))
        return 0.5

    monkeypatch.setattr(chance, "uniform", noted)
    monkeypatch.setattr(rejection, "uniform", noted)
    most = gate(tuple((1.0,) * m for m in range(1, 1001)), top_k=1000, max_draws=1000)
    most.taken(0, TESTED_FROM, Proposal(list(range(1000)), [0.001] * 1000))
    assert len(used) == len(set(used)) == 2001
    assert {draw for _, draw in used} == {*range(1000), *range(REFUSALS, REFUSALS + 1000), FALLBACK}


@pytest.fixture(scope="module")
def inputs(scenes):
    lab = Lab(StudySettings(out="unused", n=6), model=scenes[0], processor=scenes[1])
    benchmark = open_benchmark("scenes-caption", n=6)
    return lab.decoder.inputs([benchmark.picture(i) for i in benchmark.items], [i.prompt for i in benchmark.items])


SHAPE = {"do_sample": True, "temperature": 1.0, "top_k": 0, "max_new_tokens": 30}


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_without_refusals_it_is_sampling_from_the_top_k_draw_for_draw(scenes, inputs, top_p):
    both = (ChanceSGRS(rates=constant(0.0), seed=5), SGRS(alpha=0, seed=5, execution="stepwise"))
    mine, theirs = (ls.generate(scenes[0], inputs, [one], top_p=top_p, **SHAPE) for one in both)
    assert mine.sequences.equal(theirs.sequences)
    assert mine.cost.backwards == 0 < theirs.cost.backwards
    for one, other in zip(mine.steps, theirs.steps, strict=True):
        assert [s.threshold is None for s in one] == [s.threshold is None for s in other]
        assert [list(s.candidates) for s in one] == [list(s.candidates) for s in other]


def test_on_a_model_it_refuses_about_as_often_as_the_sgrs_that_was_measured(scenes, tmp_path):
    lab = Lab(StudySettings(out=tmp_path, n=12, max_new_tokens=40), model=scenes[0], processor=scenes[1])
    method = SGRS(seed=1, execution="stepwise")

    def kept(acting):
        benchmark = open_benchmark("scenes-caption", n=12)
        return Refusals.of(gate_records.write(lab.decoder, benchmark, acting, 0.9, tmp_path, lab.listener, ""))

    theirs = kept(method)
    rates = theirs.rates(method)
    mine = kept(ChanceSGRS(rates=rates, seed=1))
    assert sum(mine.made.values()) > 300
    for (of, draw), made in mine.made.items():
        rate = rates[of - 1][draw]
        assert abs(mine.refused[of, draw] / made - rate) <= 4 * math.sqrt(rate * (1 - rate) / made) + 1e-4


def test_different_rates_are_different_systems_and_wrong_ones_are_told():
    labels = {system(ChanceSGRS(rates=rates), 0).label for rates in (RATES, constant(0.5))}
    assert len(labels) == 2
    with pytest.raises(SettingError, match="rates need a row"):
        ChanceSGRS(rates=RATES[:4])
    with pytest.raises(SettingError, match="rates must be a number from 0 to 1"):
        ChanceSGRS(rates=constant(1.5))
