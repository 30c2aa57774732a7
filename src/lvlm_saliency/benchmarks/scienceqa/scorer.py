"""ScienceQA: questions with two to five options, half of them with a picture (Lu et al. 2022).

Official sources: haotian-liu/LLaVA `eval_science_qa.py`; lupantech/ScienceQA `evaluate_acc.py` (categories). Papers
that report LLaVA-1.5 mean the accuracy on questions with a picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.benchmarks.judged import mean_of, named, result, text_of
from lvlm_saliency.errors import InputError, SettingError, did_you_mean
from lvlm_saliency.files.kinds import is_whole
from lvlm_saliency.files.records import Problems, place, read_json, read_rows
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, tabulate

VARIANTS = ("llava", "normal")
LETTERS = ("A", "B", "C", "D", "E")
FAILED = "FAILED"
FIGURES = {
    "accuracy": mean_of("correct", "questions", 100.0),
    "image_accuracy": mean_of("image_correct", "image_questions", 100.0),
}
COLUMNS = ("questions", "correct", "image_questions", "image_correct")
_SAID = re.compile(r"The answer is ([A-Z]).")

SUBJECTS = {"natural": "natural science", "social": "social science", "language": "language science"}
_TOPICS = """
punctuation literacy-in-science verbs pronouns civics culture word-study economics physics units-and-measurement
science-and-engineering-practices reading-comprehension global-studies grammar figurative-language us-history
writing-strategies world-history reference-skills biology earth-science phonological-awareness capitalization
chemistry vocabulary geography
"""


def parse(text: str) -> str:
    """The letter that `text` gives, or "FAILED".

    The text is one of A to E; or begins with such a letter, a full stop and a blank; or holds "The answer is X" with
    one character behind X exactly once. Case counts, and nothing is stripped: "a", " A", "B.", "(C)" and "The answer
    is D" fail.
    """
    if text in LETTERS:
        return text
    if len(text) >= 3 and text[0] in LETTERS and text[1:3] == ". ":
        return text[0]
    found = _SAID.findall(text)
    return found[0] if len(found) == 1 else FAILED


def option(letter: str, choices: int) -> int:
    """The number of the option that a letter names among so many `choices`; -1 where it names none."""
    return LETTERS.index(letter) if letter in LETTERS[:choices] else -1


def score(
    problems: Mapping[str, Any] | str | Path,
    ids: Sequence[str],
    answers: Sequence[Mapping[str, Any]] | str | Path,
    variant: str = "llava",
    *,
    errors: str = "raise",
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """ScienceQA of `answers` (`[{"question_id", "prompt", "text"}]`, LLaVA's layout) to the questions `ids`.

    `problems`: the official `problems.json`, or a file of it. `variant` "llava": as the released script, a missing
    answer is wrong, and, since it looks for a picture in the answer's prompt, drops out of the picture figure.
    "normal": whether there is a picture is read from the problem, and a missing answer is an error (or skipped and
    counted).

    Returns `accuracy` and `image_accuracy` in percent, unrounded (the script prints 2 decimals; NaN without a
    question), the counts `questions`, `correct`, `image_questions`, `image_correct`, `failed` (no letter found),
    `out_of_range` (a letter that the question does not have), `missing`, `categories` (percent, 2 decimals, -1 where
    there is no question), `intervals` (questions are redrawn), `per_question`. Raises `InputError`, `SettingError`.
    """
    if variant not in VARIANTS:
        raise SettingError(f"no ScienceQA variant {variant!r}{did_you_mean(variant, VARIANTS)}")
    trouble = Problems(errors)
    known = read_json(problems) if isinstance(problems, str | Path) else problems
    said = _answers(answers)
    entries = []
    for key in map(str, ids):
        problem = _problem(known, key, named(problems, "problems"))
        if key not in said and variant == "normal":
            trouble.report("missing_answer", f"question {key} has no answer")
            continue
        entries.append(_entry(key, problem, said.get(key), variant, named(answers, "answers")))
    counts = table({"per_question": entries})
    sums = dict(zip(counts.columns, map(int, counts.counts.sum(axis=0)), strict=True))
    return result(
        "scienceqa",
        counts,
        "question",
        trouble,
        bootstrap,
        variant=variant,
        **counts.values(),
        **sums,
        **{name: sum(entry[name] for entry in entries) for name in ("failed", "out_of_range", "missing")},
        categories=_categories(entries, known),
        per_question=entries,
    )


def table(found: Mapping[str, Any]) -> CountTable:
    """The counts per question of a result of `score`."""
    return tabulate(((entry["question_id"], entry) for entry in found["per_question"]), COLUMNS, FIGURES)


def _entry(
    key: str, problem: Mapping[str, Any], answer: Mapping[str, Any] | None, variant: str, file: str
) -> dict[str, Any]:
    letter = FAILED if answer is None else parse(text_of(answer, "text", f"{file}: question {key}"))
    chosen = option(letter, len(problem["choices"]))
    if variant == "llava":
        picture = answer is not None and "<image>" in str(answer.get("prompt", ""))
    else:
        picture = bool(problem.get("image"))
    correct = int(chosen == problem["answer"])
    return {
        "question_id": key,
        "letter": letter,
        "prediction": chosen,
        "answer": problem["answer"],
        "questions": 1,
        "correct": correct,
        "image_questions": int(picture),
        "image_correct": int(picture and correct),
        "failed": int(letter == FAILED),
        "out_of_range": int(letter != FAILED and chosen < 0),
        "missing": int(answer is None),
    }


def _categories(entries: Sequence[Mapping[str, Any]], problems: Mapping[str, Any]) -> dict[str, float]:
    def share(wanted: Callable[[Mapping[str, Any]], bool]) -> float:
        right = [entry["correct"] for entry in entries if wanted(problems[entry["question_id"]])]
        return float(f"{100 * sum(right) / len(right):.2f}") if right else -1.0

    def with_picture(problem: Mapping[str, Any]) -> bool:
        return bool(problem.get("image"))

    def with_text(problem: Mapping[str, Any]) -> bool:
        return bool(problem.get("hint"))

    def has(field: str, value: str) -> Callable[[Mapping[str, Any]], bool]:
        return lambda problem: problem.get(field) == value

    def grades(first: int, last: int) -> Callable[[Mapping[str, Any]], bool]:
        names = [f"grade{number}" for number in range(first, last + 1)]
        return lambda problem: problem.get("grade") in names

    return {
        **{name: share(has("subject", subject)) for name, subject in SUBJECTS.items()},
        "has_text": share(with_text),
        "has_image": share(with_picture),
        "no_context": share(lambda problem: not with_text(problem) and not with_picture(problem)),
        "grade_1_6": share(grades(1, 6)),
        "grade_7_12": share(grades(7, 12)),
        "average": share(lambda problem: True),
        **{topic: share(has("topic", topic)) for topic in _TOPICS.split()},
    }


def _answers(answers: Sequence[Mapping[str, Any]] | str | Path) -> dict[str, Mapping[str, Any]]:
    """By question; of two answers to one the later, as officially."""
    rows = read_rows(answers) if isinstance(answers, str | Path) else answers
    found = {}
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping) or row.get("question_id") is None:
            raise InputError(f"{place(rows, index, 'answers')}: needs 'question_id' and 'text'")
        found[str(row["question_id"])] = row
    return found


def _problem(problems: Mapping[str, Any], key: str, file: str) -> Mapping[str, Any]:
    problem = problems.get(key) if isinstance(problems, Mapping) else None
    if not isinstance(problem, Mapping):
        raise InputError(f"{file}: no question {key}")
    choices: Any = problem.get("choices")
    answer: Any = problem.get("answer")
    # An answer of -1, which no option has, would be what an unreadable reply is taken for.
    if not isinstance(choices, list) or not is_whole(answer) or answer >= len(choices):
        raise InputError(f"{file}: question {key} needs 'choices', a list, and 'answer', the number of one")
    return problem
