"""Scorers that read a judge's replies: rules and bad input on invented data; two results of any such scorer compare."""

from __future__ import annotations

import pytest

from invented import ANNOTATED, FEW, PROBLEMS
from lvlm_saliency.benchmarks import hallusionbench, llava_bench, mm_vet, mmhal_bench, mmvp, scienceqa, vizwiz
from lvlm_saliency.benchmarks.compare import compare
from lvlm_saliency.errors import InputError

# --- LLaVA-Bench ---


def review(content, category="conv", **more):
    return {"category": category, "content": content, **more}


def test_a_failed_review_counts_as_minus_one_officially_and_not_in_the_careful_figure():
    found = llava_bench.score([review("8 4"), review("8 4"), review("no idea")])["all"]
    assert (found["reference"], found["model"], found["failed"], found["n"]) == (50.0, 23.3, 1, 3)
    assert found["relative"] == 46.7  # 2.333 / 5.0
    assert found["judged_relative"] == 50.0


def test_marks_that_are_no_numbers_to_average_fail():
    assert llava_bench.parse("nan 5") == llava_bench.parse("inf 5") == llava_bench.FAILED


def test_stored_marks_that_are_not_the_replys_are_counted():
    found = llava_bench.report([review("8 4", tuple=[8.0, 4.0]), review("8 4", tuple=[8.0, 9.0])], bootstrap=FEW)
    assert found["disagreeing"] == 1
    assert found["relative"] == 50.0


def test_a_review_without_a_reply_is_named():
    with pytest.raises(InputError, match=r"reviews\[1\].*content"):
        llava_bench.score([review("8 4"), {"category": "conv"}])


# --- MM-Vet ---

METADATA = {
    "v1_0": {"imagename": "a.png", "capability": ["ocr", "math"]},
    "v1_1": {"imagename": "a.png", "capability": ["rec"]},
    "v1_2": {"imagename": "b.png", "capability": ["rec", "ocr"]},
}


def grade(*marks):
    return {"score": list(marks), "content": [str(mark) for mark in marks], "model": ["judge"] * len(marks)}


def test_means_over_runs_and_over_all_questions_of_the_metadata():
    found = mm_vet.score(METADATA, {"v1_0": grade(1.0, 0.0), "v1_1": grade(0.5, 0.5)}, bootstrap=FEW)
    assert found["runs"] == [50.0, 16.7]
    assert (found["total"], found["std"], found["ungraded"]) == (33.3, 16.7, 1)
    assert found["capabilities"] == {"rec": 25.0, "ocr": 25.0, "math": 50.0}
    assert found["combinations"] == {"math+ocr": 50.0, "ocr+rec": 0.0, "rec": 50.0}


@pytest.mark.parametrize(
    ("grades", "fault"),
    [
        ({"v1_0": grade(float("nan"))}, "finite"),
        ({"v1_0": grade(2.0)}, "between 0 and 1"),
        ({"v1_0": grade(True)}, "finite"),
        ({"v1_0": {"content": ["1"]}}, "'score'"),
        ({"v1_0": grade(1.0), "v1_1": grade(1.0, 0.0)}, "runs"),
        ({"v9": grade(1.0)}, "v9 is not in the metadata"),
        ({}, "not empty"),
    ],
)
def test_bad_grades(grades, fault):
    with pytest.raises(InputError, match=fault):
        mm_vet.score(METADATA, grades)


@pytest.mark.parametrize(
    ("reply", "mark"), [("0.5 because", 0.5), (" 0.8", None), ("1", 1.0), ("1.0.", None), ("2", None), ("nan", None)]
)
def test_the_mark_that_opens_a_reply(reply, mark):
    assert mm_vet.parse(reply) == mark


# --- HallusionBench ---


def judged(figure, label, same=1, category="VD", truth=1, question="0", visual=None):
    return {
        "category": category,
        "subcategory": "chart",
        "set_id": "0",
        "figure_id": figure,
        "question_id": question,
        "visual_input": visual or ("1" if figure == "0" else "2"),
        "gt_answer": str(truth),
        "correct": label,
        "same": same,
    }


@pytest.mark.parametrize(
    ("category", "original", "label", "same", "cause"),
    [
        ("VD", 1, 0, 1, "Mixed"),
        ("VD", 1, 0, 0, "VI"),
        ("VD", 0, 0, 1, "VI"),
        ("VS", 0, 0, 1, "LH"),
        ("VS", 0, 0, 0, "Mixed"),
        ("VS", 0, 2, 1, "Mixed"),
        ("VS", 1, 0, 1, "LH"),
        ("VS", 1, 0, 0, "VI"),
        ("VS", 2, 0, 1, "VI"),
    ],
)
def test_what_an_error_at_an_edited_figure_is_put_down_to(category, original, label, same, cause):
    rows = [judged("0", original, category=category), judged("1", label, same, category=category)]
    found = hallusionbench.score(rows, bootstrap=FEW)
    assert found["per_question"][1]["cause"] == cause


def test_saying_that_there_is_no_figure_is_right_where_there_is_none():
    found = hallusionbench.score(
        [judged("0", 2, category="VS", visual="0"), judged("1", 1, category="VS")], bootstrap=FEW
    )
    assert (found["aAcc"], found["qAcc"], found["fAcc"]) == (100.0, 100.0, 100.0)
    assert hallusionbench.score([judged("0", 2)], bootstrap=FEW)["aAcc"] == 0.0


def test_bad_judgements():
    with pytest.raises(InputError, match="second entry"):
        hallusionbench.score([judged("0", 1), judged("0", 1)])
    with pytest.raises(InputError, match="figure 0"):
        hallusionbench.score([judged("1", 1)])
    with pytest.raises(InputError, match="correctness_reply"):
        hallusionbench.score([judged("0", 7)])


# --- MMHal-Bench ---


def test_a_reply_without_one_rating_counts_as_a_hallucination_and_is_shown():
    found = mmhal_bench.score(
        ["Rating: 6"] * 4 + ["**Rating:** 6", "", "rating: 1 rating: 2", "RATING: 5."], bootstrap=FEW
    )
    assert found["unparsable"] == 3
    assert found["average_score"] == (24 + 5) / 8
    assert found["hallucination_rate"] == 3 / 8
    assert (found["judged_average_score"], found["judged_hallucination_rate"]) == (29 / 5, 0.0)


def test_api_responses_and_types():
    reply = {"choices": [{"message": {"content": "Rating: 3"}}]}
    found = mmhal_bench.score([reply, "Rating: 2"], ["count", "count"], bootstrap=FEW)
    assert found["per_type"] == {"count": 2.5}
    with pytest.raises(InputError, match="choices"):
        mmhal_bench.score([{}], ["x"])
    with pytest.raises(InputError, match="8 types"):
        mmhal_bench.score(["Rating: 1"])


# --- MMVP ---


def answers(count):
    return [{"question_id": n + 1, "answer": "(a)", "response": "(a)"} for n in range(count)]


def test_a_pair_needs_both():
    found = mmvp.score(answers(4), ["yes", "YES", "yes", "Yes."], bootstrap=FEW)
    assert (found["pair_accuracy"], found["accuracy"], found["unclear"]) == (0.5, 0.75, 1)


def test_pairs_that_a_missing_line_has_shifted_are_refused():
    with pytest.raises(InputError, match="pair"):
        mmvp.score([answers(1)[0], answers(4)[2]], ["yes", "yes"])
    with pytest.raises(InputError, match="3 replies for 4 answers"):
        mmvp.score(answers(4), ["yes"] * 3)


def test_the_letter_without_a_judge():
    assert mmvp.by_letter({"answer": "(a)", "response": "It is (A)."})
    assert not mmvp.by_letter({"answer": "(a)", "response": "(a) or (b)"})


# --- all of them ---


def test_every_scorers_results_can_be_compared():
    pairs = [
        [llava_bench.report([review(text)], bootstrap=FEW) for text in ("8 8", "8 4")],
        [mm_vet.score(METADATA, {"v1_0": grade(mark)}, bootstrap=FEW) for mark in (1.0, 0.5)],
        [mmvp.score(answers(2), [text, "yes"], bootstrap=FEW) for text in ("yes", "no")],
        [mmhal_bench.score([f"rating: {n}"], ["x"], bootstrap=FEW) for n in (4, 2)],
        [hallusionbench.score([judged("0", label)], bootstrap=FEW) for label in (1, 0)],
        [scienceqa.score(PROBLEMS, ["2"], [{"question_id": "2", "text": text}], bootstrap=FEW) for text in ("C", "A")],
        [vizwiz.score(ANNOTATED[:1], [{"image": "a.jpg", "answer": a}], bootstrap=FEW) for a in ("cup", "dog")],
    ]
    for one, other in pairs:
        figures = compare(one, other, bootstrap=FEW)["figures"]
        first = next(iter(figures.values()))
        assert first["difference"] > 0, one["benchmark"]
