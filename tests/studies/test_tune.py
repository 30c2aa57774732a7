"""Tuning: a planted best setting is found and judged on other pictures, and silence does not win."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import lvlm_saliency as ls
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation.systems import systems
from lvlm_saliency.studies import open_studies, written
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS
from lvlm_saliency.studies.settings import StudySettings
from lvlm_saliency.studies.tune.objective import Objective, measured
from lvlm_saliency.studies.tune.search import Halves
from lvlm_saliency.studies.tune.study import Tune
from zoo import FAMILIES

MENTIONS, OBJECTS = 8, 6


def result(random, wrong: float, images: list[str], said: int = MENTIONS, words: int = 40, formed: float = 1.0) -> dict:
    """A CHAIR result: `said` mentions in each caption, each wrong with probability `wrong`; the right ones recall."""
    entries = []
    for image in images:
        bad = int(random.binomial(said, wrong))
        right = min(OBJECTS, said - bad)
        entries.append(
            {
                "image_id": image,
                "node_words": ["thing"] * said,
                "hallucinated": [{"word": "thing"}] * bad,
                "recalled": [str(i) for i in range(right)],
                "truth_objects": OBJECTS,
                "tokens": words,
                "CHAIR_s": int(bad > 0),
            }
        )
    return {"benchmark": "chair", "per_caption": entries, "extra": {"well-formed": formed}}


class PlantedLab:
    """A lab whose captions are planted: `world(system)` gives `result`'s arguments for each way of decoding."""

    command, from_file, fingerprint = "lvlm-saliency tune", False, "0" * 16

    def __init__(self, world, model, n=300, seed=0):
        self.settings = StudySettings(out="unused", n=n, seed=seed, resamples=300)
        self.world, self.model, self.structure = world, model, model
        self.asked: list[tuple[str, int, int]] = []
        self.notes: list[str] = []
        self.listener = SimpleNamespace(note=self.notes.append)

    def run(self, methods, *, benchmarks, n=None, resamples=None):
        (spec,), n = benchmarks, n or self.settings.n
        compared = systems(methods, self.settings.seed)
        self.asked.append((spec, n, len(compared)))
        images = [f"{spec} {i}" for i in range(n)]
        details = {
            one.label: result(np.random.default_rng([len(spec), n, i]), images=images, **self.world(one))
            for i, one in enumerate(compared)
        }
        zero = {"CHAIR_i": {"difference": 0.0, "interval": [-0.01, 0.01]}}
        control = {"length_matched": {"differences": {"captions": dict.fromkeys(details, zero)}}}
        data = SimpleNamespace(
            detail=lambda name, label: {"captions": details[label]},
            cost=lambda name, label: {"seconds": 0.5 * n},
            scores={"benchmarks": {"scenes-caption": control}},
        )
        return data, compared

    def setup(self):
        return {"model": "scenes", "labels": "scenes-caption"}


@pytest.fixture(scope="module")
def tiny():
    """A tiny LLaVA and its processor."""
    return FAMILIES["llava"].build()


def beta_of(one) -> float:
    return next((method.beta for method in one.methods if method.name == "locore"), -1.0)


def planted(one) -> dict:
    """Greedy is wrong in a tenth; LocoRE below beta 0.3 in the half of that; above 1 it says nothing at all."""
    beta = beta_of(one)
    if beta > 1:
        return {"wrong": 0.0, "said": 0, "words": 0}
    return {"wrong": 0.05 if 0.2 < beta < 0.5 else 0.1}


def null(one) -> dict:
    return {"wrong": 0.1}


def test_a_planted_optimum_is_found_and_silence_does_not_win(tiny):
    lab = PlantedLab(planted, tiny[0])
    page = Tune(budget=3000).run(lab)
    verdicts = [finding.verdict for finding in page.findings]
    assert verdicts[:3] == [HOLDS, HOLDS, HOLDS], page.findings
    chosen = yaml.safe_load(page.files["preset.yaml"])["methods"]["locore"]
    assert 0.2 < chosen["beta"] < 0.5
    silent = [row for row in page.data["settings"] if row["length"] == 0]
    assert silent, "no setting that says nothing was drawn; the test shows nothing"
    assert {row["rung"] for row in silent} == {1}
    assert all(row["outside"] > 0.9 and not row["kept"] for row in silent)


def test_held_out_pictures_are_looked_at_once_and_last_and_the_budget_is_kept(tiny):
    lab = PlantedLab(planted, tiny[0])
    Tune(budget=3000).run(lab)
    *choosing, judging = lab.asked
    assert all("split=dev" in spec for spec, _, _ in choosing)
    assert judging == ("scenes-caption:split=test", 300, 4)
    spent = sum(n * count for _, n, count in choosing)
    assert 0.9 * 3000 < spent <= 3000
    offsets = [int(spec.rsplit("offset=", 1)[1]) for spec, _, _ in choosing]
    assert offsets == [0, *np.cumsum([n for _, n, _ in choosing])[:-1]]
    assert "of 2" in lab.notes[0] or "captions to choose on are written" in lab.notes[0]


def test_where_nothing_helps_no_gain_is_claimed(tiny):
    claimed = [
        page.findings[0].verdict == HOLDS
        for seed in range(5)
        for page in [Tune(budget=600, settings=9).run(PlantedLab(null, tiny[0], n=150, seed=seed))]
    ]
    assert sum(claimed) <= 1  # one in forty by chance


def test_where_everything_harms_greedy_decoding_is_the_preset(tiny, tmp_path):
    lab = PlantedLab(lambda one: {"wrong": 0.05 if not one.methods else 0.2}, tiny[0])
    page = Tune(budget=1500).run(lab)
    assert page.findings[0].verdict == FAILS
    assert "None of the 18 settings that were tried beats plain greedy decoding" in page.findings[0].text
    file = tmp_path / "preset.yaml"
    file.write_text(page.files["preset.yaml"], encoding="utf-8")
    assert ls.load_preset(file) == []
    assert page.write(tmp_path / "page").exists()


def test_a_winner_by_luck_is_told_from_its_held_out_effect(tiny):
    """On the dev pictures one setting looks perfect; on others it is as good as greedy."""

    class Lucky(PlantedLab):
        def run(self, methods, *, benchmarks, n=None, resamples=None):
            lucky = "split=dev" in benchmarks[0]
            self.world = lambda one: {"wrong": 0.01 if lucky and beta_of(one) == 0.15 else 0.1}
            return super().run(methods, benchmarks=benchmarks, n=n, resamples=resamples)

    page = Tune(budget=3000).run(Lucky(None, tiny[0]))
    better, _, tuned, promised = page.findings
    assert better.verdict == CANNOT_TELL
    assert promised.verdict == HOLDS
    assert "by more than chance explains" in promised.text
    assert tuned.verdict == FAILS
    assert "locore itself came first" in tuned.text


# --- the objective ---


def told(**settings):
    return measured([result(np.random.default_rng(0), images=[str(i) for i in range(50)], **settings)])


@pytest.mark.parametrize("name", ["chair_i", "chair_s", "f1"])
@pytest.mark.parametrize(
    ("bad", "margin"),
    [
        ({"said": 0, "words": 0}, {"recall", "length"}),
        ({"said": 2, "words": 40}, {"recall"}),
        ({"words": 20}, {"length"}),
        ({"words": 60}, {"length"}),
        ({"formed": 0.5}, {"well-formed"}),
    ],
)
def test_silence_brevity_babble_and_broken_sentences_come_behind_greedy(name, bad, margin):
    aim, greedy = Objective(name), told(wrong=0.1)
    one = told(**{"wrong": 0.0, **bad})
    assert set(aim.oversteps(one, greedy)) == margin
    assert aim.key(one, greedy) > aim.key(greedy, greedy)
    assert aim.key(told(wrong=0.02), greedy) < aim.key(greedy, greedy)


def test_parts_are_pooled_over_rungs():
    random = np.random.default_rng(1)
    parts = [
        result(random, 0.2, [f"{k}{i}" for i in range(n)], formed=f) for k, n, f in (("a", 10, 1.0), ("b", 30, 0.6))
    ]
    both = measured(parts)
    wrong = sum(len(entry["hallucinated"]) for part in parts for entry in part["per_caption"])
    assert both.pictures == 40
    assert both.figures["CHAIR_i"] == pytest.approx(wrong / (40 * MENTIONS))
    assert both.figures["well-formed"] == pytest.approx(0.7)
    precision, recall = 1 - both.figures["CHAIR_i"], both.figures["recall"]
    assert both.figures["f1"] == pytest.approx(2 * precision * recall / (precision + recall))


def test_saying_nothing_has_no_f1_of_its_own():
    assert told(wrong=0.0, said=0).figures["f1"] == 0


def test_a_dev_half_that_is_too_small_is_told_before_anything_is_described(tmp_path, tiny):
    (tmp_path / "synonyms.txt").write_text("dog\n")
    (tmp_path / "coco_objects.json").write_text(json.dumps({str(image): ["dog"] for image in range(1, 21)}))
    (tmp_path / "COCO_val2014_000000000001.jpg").touch()  # whether there are pictures is looked at earlier still
    settings = StudySettings(out=tmp_path / "out", labels="chair", images=tmp_path, data=tmp_path)
    with pytest.raises(InputError, match=r"pictures in its dev half and this budget needs 140"):
        Tune(settings=4, budget=700, keep=2).run(Lab(settings, model=tiny[0], processor=tiny[1]))
    assert not (tmp_path / "out").exists()


def test_questions_have_no_halves():
    with pytest.raises(SettingError, match="scenes-pope has no halves"):
        Halves("scenes-pope")


def test_halves_keep_the_benchmarks_own_settings():
    halves = Halves("chair:variant=lemmatizer")
    assert halves.dev(40) == "chair:variant=lemmatizer,split=dev,offset=40"
    assert halves.test == "chair:variant=lemmatizer,split=test"


def test_settings_are_written_as_they_are_read():
    spec = "tune:methods=sgrs+locore:space=logit,objective=f1"
    assert open_studies([spec]) == [Tune(methods="sgrs+locore:space=logit", objective="f1")]
    assert written(open_studies([spec])[0]) == spec
    assert written(Tune()) == "tune"
    assert written(Tune(methods="sgrs+locore", budget=900)) == "tune:methods=sgrs+locore,budget=900"


@pytest.mark.parametrize("wrong", [{"objective": "chair"}, {"settings": 0}, {"keep": 1}, {"budget": "many"}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Tune(**wrong)
