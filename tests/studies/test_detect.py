"""Study `detect`: planted signals are found, noise is not, and the command runs end to end on the shipped model."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

import lvlm_saliency as ls
from lvlm_saliency.cli import main
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation.runner import Silent
from lvlm_saliency.risk.asked import question, yes_and_no
from lvlm_saliency.risk.signals import names_of
from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.detect import page as detect_page
from lvlm_saliency.studies.detect.mentions import NEAR, Mentions, joined
from lvlm_saliency.studies.detect.study import Detect, measured, transfers
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS

LAB = SimpleNamespace(settings=SimpleNamespace(resamples=60, seed=0), listener=Silent())
SOME = ("log-probability", "entropy", "position", "saliency", "attention", "words after")


def mentions(prefix: str, strength: dict[str, float], seed: int, pictures=90, each=5, **more: float) -> Mentions:
    """Words whose truth depends on the first feature of some groups; `more` on the self-check as well."""
    random = np.random.default_rng(seed)
    count = pictures * each
    groups = {name: random.normal(size=(count, len(names_of(name, [0, 1])))) for name in SOME}
    groups["self-check"] = random.normal(size=(count, 1))
    odds = sum((weight * groups[name][:, 0] for name, weight in strength.items()), np.full(count, -1.2))
    return Mentions(
        groups,
        y=random.random(count) < expit(odds),
        first=np.ones(count, bool),
        picture=np.repeat([f"{prefix}{i}" for i in range(pictures)], each).astype(object),
        position=np.tile(np.arange(each), pictures),
        wording=random.integers(5, 9, (count, len(NEAR))),
        source=np.zeros(count, dtype=np.int64),
        layers=[0, 1],
    )


def study(strength: dict[str, float], sampled: dict[str, float] | None = None):
    sampled = strength if sampled is None else sampled
    train = {"greedy": mentions("a", strength, 1), "sample": mentions("a", sampled, 2)}
    held = {"greedy": mentions("b", strength, 3), "sample": mentions("b", sampled, 4)}
    return measured(LAB, train, held, "made up")


@pytest.fixture(scope="module")
def planted():
    return study({"log-probability": -0.8, "saliency": -4.0, "self-check": -3.0})


@pytest.fixture(scope="module")
def null():
    return study({})


def verdicts(results):
    return [finding.verdict for finding in detect_page.findings(results)]


def test_planted_saliency_is_found_and_laid_at_its_own_door(planted):
    _, gain, control, saliency, *_ = verdicts(planted)
    assert (gain, control, saliency) == (HOLDS, HOLDS, HOLDS)
    worth = {one.group: one for one in planted.worths}
    assert worth["saliency"].added.low > 0.1
    assert worth["saliency"].within.low > 0
    assert worth["self-check"].within.low > 0
    assert not worth["attention"].added.excludes(0) or worth["attention"].added.value < 0
    assert abs(worth["attention"].within.value) < 0.03
    assert max(planted.worths, key=lambda one: one.alone.value).group == "saliency"


def test_noise_gives_no_risk(null):
    area, _ = null.areas["risk"]
    assert area.low < 0.5 < area.high
    assert FAILS in verdicts(null)[:2]
    assert HOLDS not in verdicts(null)[:4]
    assert all(abs(one.alone.value - 0.5) < 0.08 for one in null.worths)


def test_costlier_signals_are_told_from_free_ones(planted):
    assert planted.gains["all over risk"].low > 0
    assert "self-check (one short pass per object named)" in detect_page.findings(planted)[4].text
    assert "words after" in planted.fitted.model.groups
    assert "self-check" not in planted.fitted.model.groups


def test_a_sign_that_turns_does_not_transfer():
    signs = {"greedy": {"saliency": -3.0}, "sample": {"saliency": 3.0}}
    train, held = ({name: mentions(half, signs[name], ord(half) + len(name)) for name in signs} for half in "ab")
    found = transfers(train, held, list(SOME), [*SOME, "self-check"], (100, 0))
    cells = {(one.trained, one.tested): one.free for one in found}
    assert cells["greedy", "greedy"].low > 0.8
    assert cells["greedy", "sample"].high < 0.3
    results = SimpleNamespace(transfers=found, counts={"train": dict.fromkeys(signs, 1)})
    assert [finding.verdict for finding in detect_page.transfer(results)] == [FAILS, FAILS]


def test_a_way_of_decoding_that_hardly_hallucinates_is_tested_on_alone():
    parts = {name: mentions("a", {"saliency": -3.0}, 1) for name in ("greedy", "sample")}
    parts["greedy"].y[:] = np.arange(len(parts["greedy"])) < 2
    found = transfers(parts, parts, list(SOME), list(SOME), (20, 0))
    assert {one.trained for one in found} == {"sample", "greedy and sample"}
    assert {one.tested for one in found} == {"greedy", "sample"}


def test_what_holds_everywhere_transfers(planted):
    assert len(planted.transfers) == 6
    assert FAILS not in verdicts(planted)[-2:]


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.91, 0.95, HOLDS), (0.9, 0.95, HOLDS), (0.8, 0.89, FAILS), (0.85, 0.93, CANNOT_TELL)]
)
def test_a_goal_is_judged_by_the_interval(low, high, verdict):
    assert detect_page.at_least(Estimate((low + high) / 2, low, high, 9), 0.9) == verdict


def test_without_an_interval_nothing_is_told():
    assert detect_page.at_least(Estimate(0.95, float("nan"), float("nan"), 9), 0.9) == CANNOT_TELL


def test_positions_are_matched_within_one_way_of_decoding():
    both = joined([mentions("a", {}, 1), mentions("a", {}, 2)])
    pairs = {(position, source) for position, source in zip(both.position, both.source, strict=True)}
    assert len(np.unique(both.strata)) == len(pairs) == 10


@pytest.mark.parametrize("train", [5, 2.5, True, "many"])
def test_wrong_settings(train):
    with pytest.raises(SettingError, match="train must be"):
        Detect(train=train)


def test_the_question_is_popes():
    assert question("apple") == "Is there an apple in the image?"
    assert question("dog") == "Is there a dog in the image?"


def test_yes_and_no_are_found_in_the_shipped_tokenizer():
    _, processor = ls.load_model("scenes")
    yes, no = yes_and_no(processor.tokenizer)
    assert {processor.tokenizer.decode([one]).strip().lower() for one in yes} == {"yes"}
    assert {processor.tokenizer.decode([one]).strip().lower() for one in no} == {"no"}


@pytest.mark.slow
def test_the_command_writes_page_data_and_a_model_that_explain_reads(capsys, tmp_path):
    folder = tmp_path / "out"
    assert main(["study", "detect:train=20", "--n", "10", "--resamples", "40", "--out", str(folder), "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["detect"]
    assert {one["verdict"] for one in findings} <= {HOLDS, FAILS, CANNOT_TELL}
    written = {path.name for path in (folder / "detect").iterdir()}
    assert {"page.html", "page.md", "worth.png", "reliability.svg", "groups.csv", "risk.safetensors"} <= written
    page = (folder / "detect" / "page.md").read_text()
    assert "10 of seed 0 held out" in page
    assert str(folder) not in page
    groups = [json.loads(line) for line in (folder / "detect" / "groups.jsonl").read_text().splitlines()]
    costly = {"self-check", "blank picture", "runner-up", "hidden state, at"}
    assert {"saliency", *costly} <= {one["group"] for one in groups}
    picture = tmp_path / "white.png"
    Image.new("RGB", (64, 64), "white").save(picture)
    shown = ["explain", "--image", picture, "--prompt", "Describe the image.", "--json", "--risk"]
    assert main([str(word) for word in [*shown, folder / "detect" / "risk.safetensors"]]) == 0
    assert json.loads(capsys.readouterr().out)["risk_model"]["labels"] == "scenes-caption"


def test_too_few_pictures_are_told(tmp_path):
    from lvlm_saliency.studies.lab import Lab
    from lvlm_saliency.studies.settings import StudySettings

    with pytest.raises(InputError, match="too few to learn from; raise --n"):
        Detect(train=10).run(Lab(StudySettings(tmp_path, n=2, resamples=40, max_new_tokens=12)))
