"""Pairs are made in turn and read honestly; verdicts follow planted times; the study names what it cannot time."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.cli import main
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.registry import methods
from lvlm_saliency.model.output import Cost, TokenRecord
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.latency.page import findings, percent
from lvlm_saliency.studies.latency.study import NOISE, Latency, Row, passes
from lvlm_saliency.studies.latency.timing import LEAST, Paired, paired
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS
from lvlm_saliency.studies.settings import StudySettings

CPU = torch.device("cpu")


def timed(ratio: float, pairs: int = 11, spread: float = 0.01) -> Paired:
    base = np.linspace(1, 2, pairs)
    ratios = ratio * np.exp(np.linspace(-spread, spread, pairs))
    return Paired(base.tolist(), (base * ratios).tolist(), [])


def test_both_are_run_in_turn_and_the_first_of_a_pair_changes():
    order: list[str] = []
    found = paired(lambda n: order.append(f"b{n}"), lambda n: order.append(f"m{n}") or n, 4, device=CPU)
    assert order == ["b0", "m0", "b0", "m0", "m1", "b1", "b2", "m2", "m3", "b3"]
    assert found.results == [0, 1, 2, 3]
    assert len(found.own) == len(found.baseline) == 4
    assert min(found.own) > 0


def test_a_slow_method_gets_few_pairs():
    calls: list[int] = []
    found = paired(lambda n: None, calls.append, 9, device=CPU, slow=0.0, few=2)
    assert len(found.own) == 2
    assert calls == [0, 0, 1]


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30))
def test_the_interval_holds_the_median_and_needs_enough_pairs(ratios):
    found = Paired([1.0] * len(ratios), ratios, [])
    low, high = found.interval
    assert np.isnan(low) == np.isnan(high) == (len(ratios) < LEAST)
    if len(ratios) >= LEAST:
        assert min(ratios) <= low <= found.median <= high <= max(ratios)


def test_the_interval_covers_the_true_median_as_often_as_it_says():
    random = np.random.default_rng(0)
    made = [Paired([1.0] * 11, random.lognormal(0.1, 0.2, 11).tolist(), []).interval for _ in range(400)]
    assert 0.93 < np.mean([low <= np.exp(0.1) <= high for low, high in made]) < 1


def test_passes_are_means_over_all_texts():
    gated = [TokenRecord(1), TokenRecord(2, threshold=0.5, rejected=[4, 5]), TokenRecord(3, threshold=0.5)]
    plain = [TokenRecord(1)]
    assert passes([(gated, Cost(forwards=3, backwards=6)), (plain, Cost(forwards=5))]) == (2.0, 1.5, 0.5)
    assert passes([(plain, Cost(forwards=1))]) == (1.0, 0.0, None)


@pytest.mark.parametrize(
    ("locore", "sgrs", "strict", "verdicts"),
    [
        (1.005, 1.35, 1.34, [HOLDS, HOLDS, HOLDS]),
        (1.10, 2.0, 0.9, [FAILS, FAILS, FAILS]),
        (1.02, 1.40, 1.0, [CANNOT_TELL, CANNOT_TELL, FAILS]),
    ],
)
def test_verdicts_follow_planted_times(locore, sgrs, strict, verdicts):
    rows = [
        Row(NOISE, "greedy", timed(1.0), 40),
        Row("locore", "greedy", timed(locore), 40, (1.0, 0.0, None)),
        Row("sgrs", "sample", timed(sgrs), 40, (1.0, 1.0, 0.25)),
    ]
    found = findings(rows, timed(strict))
    assert [one.verdict for one in found] == verdicts
    assert "0.25 draws" in found[1].text


def test_too_few_pairs_decide_nothing():
    rows = [Row(NOISE, "greedy", timed(1.0, 3), 40), Row("locore", "greedy", timed(3.0, 3), 40)]
    (found,) = findings(rows, None)
    assert found.verdict == CANNOT_TELL
    assert "×3.0" in found.text
    assert "too few" in found.text


@pytest.mark.parametrize(("ratio", "shown"), [(1.0, "0 %"), (1.02, "+2 %"), (0.95, "−5 %"), (2.0, "×2.0")])
def test_ratios_as_people_say_them(ratio, shown):
    assert percent(ratio) == shown


def test_an_interval_is_written_as_its_figure():
    assert [percent(end, 2.5) for end in (1.89, 2.9)] == ["×1.9", "×2.9"]
    assert [percent(end, 1.9) for end in (1.5, 2.1)] == ["+50 %", "+110 %"]


def test_all_stands_for_every_registered_method():
    labels = [one.label for one in Latency().systems(0)]
    assert set(methods()) < set(labels)
    assert len(labels) == len(set(labels))
    assert all(one.optional for one in Latency().systems(0))
    assert [one.label for one in Latency(methods="locore/sgrs:alpha=0.9").systems(0)] == ["locore", "sgrs:alpha=0.9"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokens": 1}, "tokens must be a whole number"),
        ({"repeats": 0}, "repeats must be a whole number"),
        ({"methods": "locoer"}, "did you mean 'locore'"),
        ({"methods": "sgrs/al"}, "did you mean 'all'"),
        ({"methods": "greedy"}, "name another method"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(SettingError, match=message):
        Latency(**settings)


def test_a_method_that_does_not_fit_is_left_out_when_only_all_asked_for_it(scenes, tmp_path, monkeypatch):
    from lvlm_saliency.interventions.vcd import VCD

    def refuse(self, model):
        raise SettingError("not on this model")

    monkeypatch.setattr(VCD, "check_model", refuse)
    monkeypatch.setattr("lvlm_saliency.studies.latency.study.methods", lambda: ["locore", "vcd"])
    monkeypatch.setattr("lvlm_saliency.studies.latency.study.EXTRA", ())
    lab = Lab(StudySettings(out=tmp_path, n=2), model=scenes[0], processor=scenes[1])
    page = Latency(tokens=4, repeats=1).run(lab)
    assert [row["method"] for row in page.data["latency"]] == [NOISE, "no method", "locore"]
    assert "not on this model" in page.markdown()
    with pytest.raises(SettingError, match="not on this model"):
        Latency(tokens=4, repeats=1, methods="vcd").run(lab)


def test_the_command_times_exactly_so_many_tokens(tmp_path, capsys):
    call = ["study", "latency:tokens=5,repeats=2,methods=sgrs/sgrs:alpha=0.9/beam", "--out", str(tmp_path)]
    assert main(call) == 0
    rows = {r["method"]: r for r in map(json.loads, (tmp_path / "latency" / "latency.jsonl").read_text().splitlines())}
    assert rows["no method"]["forwards_per_token"] == 1
    assert rows["sgrs"]["against"] == "sample"
    assert rows["sgrs"]["backwards_per_token"] > 0
    assert rows["sgrs"]["refused_per_token"] is not None
    assert rows["beam"]["rows"] > 1
    assert all(row["pairs"] == 2 for row in rows.values())
    assert (tmp_path / "latency" / "latency.png").exists()
    assert "alpha 0.9" in capsys.readouterr().out
