"""AMBER's matching and counting on invented records."""

from __future__ import annotations

import math

import pytest

from lvlm_saliency.benchmarks import amber
from lvlm_saliency.errors import InputError
from lvlm_saliency.stats.bootstrap import Bootstrap

FAST = Bootstrap(resamples=40)
RELATIONS = {"sky": [], "lake": ["water"], "dog": ["puppy"], "boat": ["ship"], "cloud": [], "lamp": []}
ANNOTATIONS = [
    {"id": 1, "type": "generative", "truth": ["sky", "lake", "sky"], "hallu": ["dog", "cloud"]},
    {"id": 2, "type": "discriminative-hallucination", "truth": "no"},
    {"id": 3, "type": "discriminative-attribute-state", "truth": "yes"},
    {"id": 4, "type": "relation", "truth": "no"},
    {"id": 5, "type": "discriminative-relation", "truth": "yes"},
]


def generative(nouns, similarity=amber.identical, responses=None, **how):
    return amber.score_generative(
        responses or [{"id": 1, "response": nouns}],
        ANNOTATIONS,
        RELATIONS,
        ["lamp"],
        similarity,
        nouns=str.split,
        bootstrap=FAST,
        **how,
    )


@pytest.mark.parametrize(
    ("nouns", "hallucinated", "covered_truth", "covered_hallu"),
    [
        ("sky sky", [], 1, 0),  # the second sky of the truth is never covered
        ("water", [], 1, 0),  # an association covers its owner
        ("puppy", ["puppy"], 0, 1),
        ("boat", ["boat"], 0, 0),  # out of the truth, not in hallu: still hallucinated
        ("lamp", [], 0, 0),  # a safe word
        ("Sky table", [], 0, 0),  # not in the vocabulary
        ("", [], 0, 0),
    ],
)
def test_matching(nouns, hallucinated, covered_truth, covered_hallu):
    result = generative(nouns)
    assert result["per_response"][0]["hallucinated"] == hallucinated
    assert (result["covered_truth"], result["covered_hallu"]) == (covered_truth, covered_hallu)


def test_safe_words_stay_in_the_denominator():
    result = generative("lamp boat")
    assert result["mentions"] == 2
    assert result["CHAIR"] == 0.5


def test_similar_words():
    """Strictly above 0.8; a noun may count for Cog and be safe as well; the first entry of each list is marked."""
    table = amber.from_table({"boat|lake": 0.81, "boat|dog": 0.9, "ship|sky": 0.8})
    both = generative("boat", table)
    assert both["per_response"][0]["hallucinated"] == []
    assert (both["covered_truth"], both["covered_hallu"]) == (1, 1)
    assert generative("ship", table)["hallucinated_mentions"] == 1


def test_printed_figures_begin_at_a_thousandth():
    result = generative("sky boat")
    assert result["printed"] == {"CHAIR": 50.0, "Cover": 33.3, "Hal": 99.9 + 0.1, "Cog": 0.0}
    assert result["Cover"] == 1 / 3


def test_undefined_figures_are_nan():
    result = generative("table")
    assert math.isnan(result["CHAIR"])
    assert result["Hal"] == 0.0


def test_records_of_the_other_task_are_passed_over():
    result = generative("", responses=[{"id": 2, "response": "No"}])
    assert result["responses"] == 0
    assert result["unanswered"] == 1
    assert result["skipped"] == {}


@pytest.mark.parametrize(
    ("record", "kind", "message"),
    [
        ({"id": 99, "response": ""}, "unknown_record", "no annotation has the id 99"),
        ({"id": 1, "response": ""}, "duplicate", "a second response to record 1"),
        ({"id": "1", "response": ""}, "malformed", "whole-number id"),
        ({"id": True, "response": ""}, "malformed", "whole-number id"),
        ({"id": 1}, "malformed", "response that is text"),
    ],
)
def test_bad_records(record, kind, message):
    responses = [{"id": 1, "response": "sky"}, record]
    with pytest.raises(InputError, match=rf"responses\[1\]: .*{message}"):
        generative("", responses=responses)
    assert generative("", responses=responses, errors="skip")["skipped"] == {kind: 1}


def yes_no(*said, **how):
    responses = [{"id": number, "response": word} for number, word in zip((2, 3, 4, 5), said, strict=True)]
    return amber.score_discriminative(responses, ANNOTATIONS, bootstrap=FAST, **how)


def test_only_exact_answers_count():
    result = yes_no("No", "yes", "No.", "Yes")
    assert (result["right"], result["answered_no"], result["true_no"], result["right_no"]) == (2, 1, 2, 1)
    assert result["precision"] == 1.0
    assert result["recall"] == 0.5
    assert set(result["dimensions"]) == {"existence", "attribute", "state", "relation"}
    assert result["dimensions"]["relation"]["questions"] == 2
    assert result["printed"]["all"] == {"accuracy": 50.0, "precision": 99.9, "recall": 50.0, "f1": 66.6}


def test_no_answered_no():
    result = yes_no("Yes", "Yes", "Yes", "Yes")
    assert math.isnan(result["precision"])
    assert result["printed"]["existence"] == {"accuracy": 0.0, "precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_the_unit_of_the_intervals_is_said():
    assert yes_no("No", "No", "No", "No")["bootstrap"]["unit"] == "question"
    images = dict.fromkeys((2, 3, 4, 5), "AMBER_1.jpg")
    result = yes_no("No", "No", "No", "No", images=images)
    assert result["bootstrap"]["unit"] == "image"
    assert amber.table(result).images == ("AMBER_1.jpg",)


def test_tables_of_similarity(tmp_path):
    similarity = amber.from_table({"a|b": 0.9})
    assert [similarity(*pair) for pair in ("ab", "ba", "aa", "ac")] == [0.9, 0.9, 1.0, 0.0]
    for wrong in ({"ab": 1}, {"a|b": "x"}, [1]):
        with pytest.raises(InputError, match="expected"):
            amber.from_table(wrong)


def test_wrong_data():
    with pytest.raises(InputError, match=r"annotations\[0\]: an annotation needs an id and a type"):
        amber.score_discriminative([], [{"id": 1}])
    with pytest.raises(InputError, match="no yes/no record"):
        amber.score_discriminative([{"id": 1, "response": "No"}], [{"id": 1, "type": "new", "truth": "no"}])
    with pytest.raises(InputError, match="lists truth and hallu"):
        amber.score_generative([{"id": 1, "response": ""}], [{"id": 1, "type": "generative"}], {}, [], amber.identical)
