"""Scorers over records that hold what no program writes: a figure that is one, or an `InputError` that says where."""

from __future__ import annotations

import json
import math

import pytest

from lvlm_saliency.benchmarks import (
    chair,
    hallusionbench,
    llava_bench,
    mm_vet,
    mmhal_bench,
    mmvp,
    pope,
    scienceqa,
    vizwiz,
)
from lvlm_saliency.errors import InputError
from lvlm_saliency.stats.bootstrap import Bootstrap
from strange import strange

FEW = Bootstrap(resamples=40)
REVIEWS = [
    {"question_id": n, "category": name, "content": "8 9\nfine", "tuple": [8, 9]}
    for n, name in enumerate(("conv", "detail", "complex"))
]
METADATA = {f"v1_{n}": {"imagename": "a.jpg", "capability": ["ocr", "math"]} for n in range(2)}
GRADES = {f"v1_{n}": {"model": ["m"], "content": ["0.5"], "score": [0.5]} for n in range(2)}
PEOPLE = [{"answer": "yes", "answer_confidence": "yes"}] * 10
ANNOTATIONS = [{"image": f"{n}.jpg", "answers": PEOPLE, "answer_type": "other", "answerable": n} for n in range(2)]
PROBLEMS = {
    str(n): {"choices": ["a", "b"], "answer": 0, "hint": "", "image": None, "subject": "natural science",
             "grade": "grade2", "topic": "biology"}
    for n in range(2)
}  # fmt: skip
SAID = [{"question_id": str(n), "text": "The answer is A.", "prompt": "<image> q"} for n in range(2)]
JUDGED = [
    {"category": "VD", "subcategory": "illusion", "visual_input": "1", "set_id": "0", "figure_id": str(n),
     "question_id": "0", "gt_answer": "1", "correctness_reply": "correct", "same_reply": "same"}
    for n in range(2)
]  # fmt: skip
RATINGS = [{"choices": [{"message": {"content": "Rating: 4"}}]} for _ in range(8)]
PAIRS = [{"question_id": n + 1, "prompt": "q", "answer": "(a)", "response": "(a)"} for n in range(2)]
QUESTIONS = [{"question_id": n, "image": f"{n // 2}.jpg", "text": "q", "label": ("yes", "no")[n % 2]} for n in range(4)]
REPLIES = [{"question_id": n, "answer": "Yes."} for n in range(4)]
CAPTIONS = [{"image_id": n, "caption": "A dog."} for n in range(2)]


def lines(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def written(folder, name, value):
    path = folder / name
    path.write_text(lines(value) if name.endswith(".jsonl") else json.dumps(value))
    return path


def chair_of(folder, path):
    words = folder / "words.txt"
    words.write_text("person, man\ndog, puppy\n")
    return chair.score(path, {str(n): ["dog"] for n in range(2)}, chair.Synonyms.read(words), bootstrap=FEW)


CASES = {
    "reviews": ("r.jsonl", REVIEWS, lambda folder, path: llava_bench.report(path, bootstrap=FEW)),
    "grades": ("g.json", GRADES, lambda f, path: mm_vet.score(written(f, "m.json", METADATA), path, bootstrap=FEW)),
    "metadata": ("m.json", METADATA, lambda f, path: mm_vet.score(path, written(f, "g.json", GRADES), bootstrap=FEW)),
    "annotations": ("a.json", ANNOTATIONS, lambda f, path: vizwiz.score(
        path, [{"image": f"{n}.jpg", "answer": "yes"} for n in range(2)], bootstrap=FEW)),
    "answers to VizWiz": ("a.json", [{"image": f"{n}.jpg", "answer": "yes"} for n in range(2)],
                          lambda f, path: vizwiz.score(written(f, "people.json", ANNOTATIONS), path, bootstrap=FEW)),
    "problems": ("p.json", PROBLEMS, lambda f, path: scienceqa.score(
        path, ["0", "1"], written(f, "s.jsonl", SAID), bootstrap=FEW)),
    "answers to ScienceQA": ("s.jsonl", SAID, lambda f, path: scienceqa.score(
        written(f, "p.json", PROBLEMS), ["0", "1"], path, bootstrap=FEW)),
    "judged": ("h.json", JUDGED, lambda f, path: hallusionbench.score(path, bootstrap=FEW)),
    "ratings": ("h.json", RATINGS, lambda f, path: mmhal_bench.score(path, bootstrap=FEW)),
    "pairs": ("m.jsonl", PAIRS, lambda f, path: mmvp.score(path, ["yes", "no"], bootstrap=FEW)),
    "replies about pairs": ("m.json", ["yes", "no"], lambda f, path: mmvp.score(
        written(f, "pairs.jsonl", PAIRS), path, bootstrap=FEW)),
    "questions of POPE": ("q.jsonl", QUESTIONS, lambda f, path: pope.score(
        path, written(f, "p.jsonl", REPLIES), bootstrap=FEW)),
    "answers to POPE": ("p.jsonl", REPLIES, lambda f, path: pope.score(
        written(f, "q.jsonl", QUESTIONS), path, bootstrap=FEW)),
    "captions": ("c.jsonl", CAPTIONS, chair_of),
}  # fmt: skip
BOUNDS = {"accuracy", "CHAIR_s", "CHAIR_i", "image_accuracy", "total", "average_score", "hallucination_rate", "aAcc"}


def told(score, folder, path) -> str:
    """The refusal, or nothing for figures that can be ones."""
    try:
        found = score(folder, path)
    except InputError as error:
        return str(error)
    for name in BOUNDS & set(found):
        assert math.isnan(found[name]) or 0 <= found[name] <= 100, (name, found[name])
    return ""


@pytest.mark.parametrize("case", CASES)
def test_records_with_strange_values(case, tmp_path):
    name, records, score = CASES[case]
    assert not told(score, tmp_path, written(tmp_path, name, records))
    refused = 0
    for _, values in strange(records, 0, 10):
        path = written(tmp_path, name, values)
        if said := told(score, tmp_path, path):
            refused += 1
            assert tmp_path.name in said, said
    assert refused


def test_an_answer_that_no_option_has_is_no_reading_of_an_unreadable_reply(tmp_path):
    """A reply without a letter counts as option -1, and so would be right."""
    problems = {key: {**problem, "answer": -1} for key, problem in PROBLEMS.items()}
    with pytest.raises(InputError, match=r"p\.json: question 0 needs"):
        scienceqa.score(written(tmp_path, "p.json", problems), ["0", "1"], SAID)


def test_one_text_is_no_list_of_replies(tmp_path):
    with pytest.raises(InputError, match="expected a list of texts"):
        mmvp.score(PAIRS, written(tmp_path, "m.json", "no"))


def test_an_endless_id_of_a_pair(tmp_path):
    assert (
        mmvp.score([{**pair, "question_id": math.inf} for pair in PAIRS], ["yes", "yes"], bootstrap=FEW)["pairs"] == 1
    )
