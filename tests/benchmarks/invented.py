"""Questions with known answers, invented: ten people's as in VizWiz, a book's as in ScienceQA."""

from __future__ import annotations

from lvlm_saliency.stats.bootstrap import Bootstrap

FEW = Bootstrap(resamples=40)


def people(*answers):
    return [{"answer": answer} for answer in answers]


ANNOTATED = [
    {"image": "a.jpg", "answers": people(*["cup"] * 4, *["mug"] * 6), "answerable": 1, "answer_type": "other"},
    {
        "image": "b.jpg",
        "answers": people(*["unanswerable"] * 9, "Cup."),
        "answerable": 0,
        "answer_type": "unanswerable",
    },
]

PROBLEMS = {
    "1": {"choices": ["x", "y"], "answer": 0, "image": "image.png", "hint": "", "subject": "natural science"},
    "2": {"choices": ["x", "y", "z"], "answer": 2, "image": None, "hint": "So.", "subject": "social science"},
}
