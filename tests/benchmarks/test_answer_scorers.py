"""Scorers that hold answers to ten people's (VizWiz) or to a book's (ScienceQA): rules, bad input, on invented data."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invented import ANNOTATED, FEW, PROBLEMS, people
from lvlm_saliency.benchmarks import scienceqa, vizwiz
from lvlm_saliency.errors import InputError, SettingError

# --- VizWiz ---


@pytest.mark.parametrize("variant", vizwiz.VARIANTS)
def test_an_answer_is_worth_its_matches_among_the_others(variant):
    answers = [{"image": "b.jpg", "answer": "cup"}, {"image": "a.jpg", "answer": "a cup"}]
    found = vizwiz.score(ANNOTATED, answers, variant, bootstrap=FEW)
    worth = {entry["image"]: entry["accuracy"] for entry in found["per_question"]}
    assert worth["a.jpg"] == 1.0
    # One person wrote "Cup.": the same once both are normalised, another word as VizWiz compares.
    assert worth["b.jpg"] == pytest.approx({"llava_m4c": 0.3, "vizwiz_api": 0.0}[variant])
    assert found["per_type"] == {"other": 1.0, "unanswerable": worth["b.jpg"]}
    assert found["truth_unanswerable_share"] == pytest.approx(0.45)


@given(st.integers(0, 10))
def test_worth_of_k_matches_among_ten(k):
    assert vizwiz.scorer.worth("x", ["x"] * k + ["y"] * (10 - k)) == pytest.approx(min(1.0, 0.3 * k))


@given(st.text(max_size=30))
def test_normalising_twice_is_normalising_once_for_plain_words(text):
    plain = "".join(c for c in text if c.isalpha() and c.isascii()) or "x"
    for variant in vizwiz.VARIANTS:
        once = vizwiz.normalise(plain, variant)
        assert vizwiz.normalise(once, variant).replace("`", "") == once.replace("`", "")


@pytest.mark.parametrize(
    ("annotations", "answers", "variant", "fault"),
    [
        (ANNOTATED, [{"image": "a.jpg", "answer": "x"}], "vizwiz_api", "b.jpg has no answer"),
        (ANNOTATED, [{"image": "a.jpg"}], "vizwiz_api", "answer"),
        (ANNOTATED, [{"image": "a.jpg", "answer": "x"}] * 2, "vizwiz_api", "second answer"),
        ([{"image": "a.jpg"}], [], "vizwiz_api", "answers"),
        ([{"image": "a.jpg", "answers": people("x")}], [], "llava_m4c", "exactly 10"),
    ],
)
def test_bad_vizwiz_files(annotations, answers, variant, fault):
    with pytest.raises(InputError, match=fault):
        vizwiz.score(annotations, answers, variant)


def test_an_unknown_variant_is_told_of_the_nearest():
    with pytest.raises(SettingError, match="llava_m4c"):
        vizwiz.score([], [], "llava_mc4")


# --- ScienceQA ---


def test_a_missing_answer_is_wrong_and_has_no_picture_in_the_released_script():
    answers = [{"question_id": "2", "prompt": "", "text": "C"}]
    found = scienceqa.score(PROBLEMS, ["1", "2"], answers, bootstrap=FEW)
    assert (found["accuracy"], found["missing"], found["image_questions"]) == (50.0, 1, 0)
    assert math.isnan(found["image_accuracy"])
    assert found["categories"]["natural"] == 0.0
    assert found["categories"]["grade_1_6"] == -1.0
    with pytest.raises(InputError, match="question 1 has no answer"):
        scienceqa.score(PROBLEMS, ["1", "2"], answers, "normal")
    skipped = scienceqa.score(PROBLEMS, ["1", "2"], answers, "normal", errors="skip", bootstrap=FEW)
    assert (skipped["accuracy"], skipped["skipped"]) == (100.0, {"missing_answer": 1})


def test_the_normal_mode_reads_the_picture_from_the_problem():
    answers = [{"question_id": key, "prompt": "", "text": "A"} for key in ("1", "2")]
    assert scienceqa.score(PROBLEMS, ["1", "2"], answers, "normal", bootstrap=FEW)["image_accuracy"] == 100.0


def test_an_unknown_question_is_named():
    with pytest.raises(InputError, match="no question 3"):
        scienceqa.score(PROBLEMS, ["3"], [])
