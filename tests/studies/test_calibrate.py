"""The guard's calibration on planted objects: what it promises it keeps, and what it cannot it says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.guard.calibration import MODES, Calibration, log_odds
from lvlm_saliency.guard.judge import Judge
from lvlm_saliency.risk.signals import CAUSAL, names_of
from lvlm_saliency.studies.calibrate import study
from lvlm_saliency.studies.calibrate.fitting import DELTA, SURE, asked, candidates, missed, questions
from lvlm_saliency.studies.calibrate.objects import Objects
from lvlm_saliency.studies.calibrate.page import page
from lvlm_saliency.studies.calibrate.parts import FIT, REPORT, SHARES, parts_of, sizes
from lvlm_saliency.studies.calibrate.study import Calibrate, Results, reached_by
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS

WIDTH = sum(len(names_of(group, [0])) for group in CAUSAL)


def planted(pictures: int, seed: int, *, asked: bool = True) -> Objects:
    """Five objects a picture, one in eight absent; features and answer each tell half of it; dogs are often absent."""
    random = np.random.default_rng(seed)
    count = 5 * pictures
    name = random.choice(["dog", "cup", "plate", "pot"], size=count)
    y = random.random(count) < np.where(name == "dog", 0.3, 0.07)
    values = random.normal(size=(count, WIDTH))
    values[:, 0] += 3 * y
    values[random.random(count) < 0.02, 1] = np.nan
    margin = random.normal(size=count) + 3 * y - 2 if asked else np.full(count, np.nan)
    return Objects(
        values=values,
        margin=margin,
        y=y,
        name=name.astype(object),
        picture=np.repeat(np.arange(pictures), 5),
        pictures=pictures,
        greedy=random.random(count) < 0.7,
        token=np.full(count, 7, dtype=np.int64),
        layers=(0,),
        texts=pictures,
    )


@pytest.fixture(scope="module")
def made():
    return candidates(planted(150, 0), planted(220, 1), seed=0)


def lab(**changes):
    settings = SimpleNamespace(**{"resamples": 200, "seed": 0, **changes})
    return SimpleNamespace(settings=settings, setup=lambda: {"model": "planted"})


@pytest.mark.parametrize("pictures", [40, 43, 500, 1200])
def test_all_pictures_are_dealt_out(pictures):
    found = sizes(pictures)
    assert sum(found.values()) == pictures
    assert all(abs(found[name] - share * pictures) < 4 for name, share in SHARES.items())


def test_the_parts_of_a_benchmark_share_no_picture():
    settings = SimpleNamespace(labels="scenes-caption:seed=5", n=50, images=None, data=None, seed=0)
    parts = parts_of(SimpleNamespace(from_file=False, settings=settings))
    images = [{item.image for item in open_benchmark(one.spec, n=one.pictures).items} for one in parts.values()]
    assert [len(some) for some in images] == [one.pictures for one in parts.values()]
    assert len(set.union(*images)) == 50
    plain = {item.image for item in open_benchmark("scenes-caption:seed=5", n=50).items}
    assert not plain & set.union(*images), "evaluate's own scenes stay unseen"


def test_the_parts_of_a_file_share_no_picture():
    texts = [SimpleNamespace(image=f"{i % 60}.png") for i in range(120)]
    parts = parts_of(SimpleNamespace(from_file=True, texts=lambda: texts, settings=SimpleNamespace(seed=3)))
    images = [one.images for one in parts.values()]
    assert sum(map(len, images)) == len(frozenset.union(*images)) == 60
    assert parts[FIT].pictures == len(parts[FIT].images)


def test_too_few_pictures_are_refused():
    with pytest.raises(InputError, match="39 pictures: too few for parts"):
        sizes(39)


def test_new_pictures_lose_what_was_promised_and_absent_objects_are_found(made):
    new = planted(1500, 2)
    for candidate in made:
        for loss in (0.01, 0.03, 0.1):
            missing, absent, lost = missed(candidate, "both", new, loss)
            assert lost <= loss * 1.6
            assert missing < 0.7 * absent
        assert missed(candidate, "both", new, 0.1)[0] < 0.2 * absent


def test_risk_and_answer_together_miss_less_than_either(made):
    new = planted(1500, 3)
    for candidate in made:
        both, risk, ask = (missed(candidate, mode, new, 0.03)[0] for mode in ("both", "risk", "ask"))
        assert both < min(risk, ask)


def test_the_guard_computes_the_risk_that_the_thresholds_are_of(made):
    """One object at a time, as the guard judges, and all at once, as the calibration does."""
    objects = planted(20, 4)
    for candidate in made:
        first = candidate.risk.probability(objects.values)
        for mode in MODES:
            together = candidate.final(mode, objects)
            low = candidate.calibration.mode(mode).pass_below
            judge = Judge(mode, candidate.risk, candidate.calibration, candidate.calibration.mode(mode).threshold(0.05))
            for row, name in enumerate(objects.name):
                odds, margin = log_odds(float(first[row])), float(objects.margin[row])
                expected = 0.0 if mode == "both" and first[row] < low else judge.risk(name, odds, margin)
                assert together[row] == pytest.approx(expected, abs=1e-6)


def test_nobody_is_asked_where_the_answer_cannot_change_the_verdict(made):
    new = planted(600, 9)
    for candidate in made:
        how = candidate.calibration.mode("both")
        judge = Judge("both", candidate.risk, candidate.calibration, how.threshold(0.03))
        first, final = candidate.risk.probability(new.values), candidate.final("both", new)
        doubtful = np.array([judge.doubtful(log_odds(float(share))) for share in first])
        assert doubtful.sum() == questions("both", how, judge.threshold, candidate.risk, new) < 0.7 * len(new)
        surely = ~doubtful & (first >= how.pass_below)
        assert surely.any()
        assert (final[surely] > judge.threshold).all(), "what is acted on unasked would be, whatever the answer"
        lost = [float(one.mean()) if len(one) else 0.0 for one in new.by_picture(surely.astype(float), ~new.y)]
        assert np.mean(lost) <= 2.5 * SURE


def test_few_absent_objects_pass_unasked(made):
    new = planted(1500, 5)
    for candidate in made:
        low = candidate.calibration.mode("both").pass_below
        assert 0 < low < 0.5
        passed = candidate.risk.probability(new.values) < low
        assert passed[new.y].mean() < 1.7 * DELTA
        assert passed[~new.y].mean() > 0.2, "or nothing is saved"


def test_a_model_that_cannot_be_asked_has_one_mode():
    (one, _) = candidates(planted(80, 6, asked=False), planted(80, 7, asked=False), seed=0)
    assert set(one.calibration.modes) == {"risk"}


def test_classes_that_are_often_hallucinated_count(made):
    for candidate in made:
        rates = candidate.calibration.rates
        assert rates.rate("dog") > rates.overall > rates.rate("cup")
        assert math.isfinite(rates.kappa)


def shown(candidate, loss, report, hold=220):
    reached = {mode: reached_by(candidate, mode, report, loss, lab()) for mode in candidate.calibration.modes}
    counts = {name: (hold, 5 * hold, 90) for name in SHARES}
    counts[REPORT] = (report.pictures, len(report), int(report.y.sum()))
    results = Results(candidate, {"logistic": (3, 40, 0.01)}, "both", reached, counts, None, "")
    return page(Calibrate(loss), lab(), results), reached


def test_the_page_says_what_was_kept(made):
    report = planted(400, 8)
    told, reached = shown(made[0], 0.03, report)
    assert {finding.verdict for finding in told.findings} <= {HOLDS, CANNOT_TELL}
    assert "At most 3.00% of a picture's correct objects are acted on" in told.findings[0].text
    assert reached["both"].found.low > reached["both"].lost.high
    assert reached["risk"].asked == 0
    assert reached["ask"].asked == 5
    assert 0 < reached["both"].asked < 5
    total = [sum(row[at] for row in reached["both"].classes) for at in (1, 3)]
    assert total == [int((~report.y).sum()), int(report.y.sum())], "four classes, all among the ten commonest"
    assert "the commonest classes" in told.markdown()


def test_a_guard_that_will_never_act_is_called_that():
    (candidate, _) = candidates(planted(80, 9), planted(60, 10), seed=0)
    told, reached = shown(candidate, 0.01, planted(50, 11), hold=60)
    assert reached["both"].threshold == 1.0
    assert told.findings[0].verdict == FAILS
    assert "never act" in told.findings[0].text
    assert "1.64%" in told.findings[0].text, "1 of 61 is the least that 60 pictures can promise"


def test_too_little_to_learn_from_is_said():
    objects = planted(60, 12)
    with pytest.raises(InputError, match=r"0 absent and \d+ correct objects .* give more pictures"):
        study.check({FIT: replace(objects, y=np.zeros(len(objects), dtype=bool))})


@pytest.mark.parametrize("loss", [0, 1, -0.1])
def test_a_loss_out_of_range_is_refused(loss):
    with pytest.raises(SettingError, match="recall_loss"):
        Calibrate(loss)


def test_a_kept_calibration_is_the_same(made):
    for candidate in made:
        kept = Calibration.from_json(candidate.calibration.to_json(), "file")
        assert kept.modes["both"].threshold(0.02) == candidate.calibration.modes["both"].threshold(0.02)


def test_files_beside_a_preset_are_found_wherever_it_is_read_from(tmp_path):
    from lvlm_saliency.interventions.preset_files import _beside

    (tmp_path / "guard.safetensors").write_bytes(b"x")
    assert _beside("guard.safetensors", tmp_path) == str(tmp_path / "guard.safetensors")
    assert _beside("other.safetensors", tmp_path) == "other.safetensors"
    assert _beside("../guard.safetensors", tmp_path / "below") == "../guard.safetensors"
    assert _beside("scenes", tmp_path) == "scenes"
    assert _beside(3, Path()) == 3


def test_questions_alone_learn_nothing_and_keep_their_promise():
    """The threshold is on p(no) / (p(no) + p(yes)), which is what a guard without a risk model goes by."""
    hold, new = planted(300, 13), planted(1500, 14)
    alone = asked(hold)
    share = 1 / (1 + np.exp(-new.margin))
    assert alone.final("ask", new) == pytest.approx(share)
    missing, absent, lost = missed(alone, "ask", new, 0.05)
    assert lost <= 0.08
    assert missing < 0.6 * absent
    t = alone.calibration.mode("ask").threshold(0.05)
    assert t in alone.calibration.mode("ask").scores


def test_a_threshold_never_falls_below_the_object_that_it_is_of():
    hold = planted(300, 15)
    for candidate in (asked(hold), *candidates(planted(150, 0), hold, seed=0)):
        for mode, how in candidate.calibration.modes.items():
            exact = candidate.final(mode, hold)[~hold.y]
            assert (np.array(how.scores) >= exact).all()
            assert np.abs(np.array(how.scores) - exact).max() < 2e-6


def test_with_neither_risk_nor_questions_there_is_nothing_to_calibrate():
    with pytest.raises(SettingError, match="nothing to calibrate"):
        Calibrate(risk=False, ask=False)
    with pytest.raises(SettingError, match="no words for yes and no"):
        study.check_asked({"calibrate": planted(50, 16, asked=False)})
