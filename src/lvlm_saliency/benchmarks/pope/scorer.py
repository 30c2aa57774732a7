"""POPE: yes/no questions about objects, yes positive (Li et al. 2023; docs/scorers.md, quirks 7 to 9).

Official source: AoiDragon/POPE `evaluate.py`. The parsers `opera` (its `pope_eval.py`) and `vcd` (its
`eval_pope.py`) are those repositories' own; figures of one parser cannot be set beside another's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.files.records import Problems, place, read_rows, source
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, Totals, f1, ratio, tabulate

Rows = Sequence[Mapping[str, Any]]
Parser = Callable[[str, bool], bool]

PAIRINGS = ("order", "id", "blind")
COLUMNS = ("tp", "fp", "tn", "fn")


def official(answer: str, positive: bool) -> bool:
    """Whether `answer` is a yes: its first sentence, without commas, has none of the pieces No, no, not.

    All else is yes: an empty answer, "NO", "Not", "isn't", "none", "No!".
    """
    sentence = answer.partition(".")[0].replace(",", "")
    return not {"No", "no", "not"}.intersection(sentence.split(" "))


def opera(answer: str, positive: bool) -> bool:
    """As `official`, over the whole answer with its full stops deleted; NO and pieces in n't are a no as well."""
    pieces = answer.replace(".", "").replace(",", "").split(" ")
    return not any(piece in {"No", "NO", "no", "not"} or piece.endswith("n't") for piece in pieces)


def vcd(answer: str, positive: bool) -> bool:
    """VCD's test, which looks at the label: right if the lower-case answer holds it as a substring ("know" holds no).

    The same answer can so be wrong under both labels.
    """
    lowered = answer.lower()
    return "yes" in lowered if positive else "no" not in lowered


PARSERS: dict[str, Parser] = {"official": official, "opera": opera, "vcd": vcd}


def _precision(total: Totals) -> np.ndarray:
    return ratio(total["tp"], total["tp"] + total["fp"])


def _recall(total: Totals) -> np.ndarray:
    return ratio(total["tp"], total["tp"] + total["fn"])


def _all(total: Totals) -> np.ndarray:
    return total["tp"] + total["fp"] + total["tn"] + total["fn"]


FIGURES = {
    "accuracy": lambda total: ratio(total["tp"] + total["tn"], _all(total)),
    "precision": _precision,
    "recall": _recall,
    "f1": lambda total: f1(_precision(total), _recall(total)),
    "yes_ratio": lambda total: ratio(total["tp"] + total["fp"], _all(total)),
}


def score(
    questions: Rows | str | Path,
    answers: Rows | str | Path,
    parser: str = "official",
    *,
    pairing: str = "order",
    errors: str = "raise",
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """POPE of `answers` to `questions`.

    `questions`: `[{"question_id", "image", "text", "label"}]`, `answers`: `[{"question_id", "question", "answer"}]`
    (or LLaVA's `{"question_id", "prompt", "text"}`), or files of them. A label other than exactly "no" is a yes.
    `parser`: "official", "opera" or "vcd". `pairing`: "order", as officially, but checked by id (or text) where both
    sides have it; "id"; or "blind", by order and unchecked. `errors`: "raise", or "skip" to leave out and count
    questions without an answer, answers without a question, second answers and malformed records. An empty answer is
    an answer. `bootstrap`: how intervals are drawn; images are redrawn with all of their questions.

    Returns fractions `accuracy`, `precision`, `recall`, `f1`, `yes_ratio` (of the predictions; NaN where undefined),
    the counts `tp`, `fp`, `tn`, `fn`, `questions`; `intervals`, `skipped` and one entry per question in
    `per_question`. Raises `InputError`, `SettingError`.
    """
    if parser not in PARSERS:
        raise SettingError(f"no POPE parser {parser!r}{did_you_mean(parser, PARSERS)}")
    if pairing not in PAIRINGS:
        raise SettingError(f"no pairing {pairing!r}{did_you_mean(pairing, PAIRINGS)}")
    problems = Problems(errors)
    asked = _checked(
        _rows(questions, problems),
        problems,
        "questions",
        _is_question,
        "a text label, and an image that is text or a number where it has one",
    )
    given = _checked(_rows(answers, problems), problems, "answers", _is_answer, "an answer that is text")
    pairs = _pair_by_id(asked, given, problems) if pairing == "id" else _pair_in_order(asked, given, pairing, problems)
    per_question = []
    for question, answer in pairs:
        positive = question["label"] != "no"
        said = _answer_of(answer)
        yes = PARSERS[parser](said, positive)
        per_question.append(
            {
                "question_id": question.get("question_id"),
                "image": question.get("image"),
                "label": question["label"],
                "answer": said,
                "prediction": "yes" if yes else "no",
                "outcome": ("tp" if positive else "fp") if yes else ("fn" if positive else "tn"),
            }
        )
    return _result(per_question, parser, pairing, problems, bootstrap or Bootstrap())


def table(result: Mapping[str, Any]) -> CountTable:
    """The counts per image of a result of `score`; a question without an image counts as one of its own."""
    rows = (
        (entry["image"] or f"question {entry['question_id']}", {entry["outcome"]: 1})
        for entry in result["per_question"]
    )
    return tabulate(rows, COLUMNS, FIGURES)


def _result(
    per_question: list[dict[str, Any]], parser: str, pairing: str, problems: Problems, bootstrap: Bootstrap
) -> dict[str, Any]:
    counts = table({"per_question": per_question})
    return {
        "benchmark": "pope",
        "parser": parser,
        "pairing": pairing,
        **counts.values(),
        **{name: int(total) for name, total in zip(COLUMNS, counts.counts.sum(axis=0), strict=True)},
        "questions": len(per_question),
        "intervals": bootstrap.intervals(counts),
        "bootstrap": bootstrap.settings(),
        "skipped": dict(problems.skipped),
        "per_question": per_question,
    }


@dataclass
class _Side:
    """The records of one file and the places they stand at. None keeps the place of one that was skipped."""

    name: str
    records: list[Mapping[str, Any] | None] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


def _rows(rows: Rows | str | Path, problems: Problems) -> Rows:
    return read_rows(rows, problems, keep_places=True) if isinstance(rows, str | Path) else rows


def _checked(rows: Rows, problems: Problems, name: str, usable: Callable[[Any], bool], needs: str) -> _Side:
    side = _Side(source(rows, name))
    for index, record in enumerate(rows):
        where = place(rows, index, name)
        if not usable(record) and index not in getattr(rows, "unread", ()):
            problems.report("malformed", f"{where}: needs {needs}")
        side.records.append(record if usable(record) else None)
        side.places.append(where)
    return side


def _is_question(record: Any) -> bool:
    return (
        isinstance(record, Mapping)
        and isinstance(record.get("label"), str)
        and all(isinstance(record.get(name), str | int | None) for name in ("image", "question_id"))
    )


def _is_answer(record: Any) -> bool:
    return isinstance(record, Mapping) and isinstance(_answer_of(record), str)


def _answer_of(record: Mapping[str, Any]) -> Any:
    return record["text"] if "answer" not in record and "prompt" in record else record.get("answer")


def _asked_text(record: Mapping[str, Any]) -> Any:
    return record.get("question", record.get("prompt", record.get("text")))


def _pair_in_order(asked: _Side, given: _Side, pairing: str, problems: Problems) -> list[tuple[Any, Any]]:
    pairs = []
    for index, (question, answer) in enumerate(zip(asked.records, given.records, strict=False)):
        if question is None or answer is None:
            continue  # counted already
        if pairing == "order" and (mismatch := _mismatch(question, answer)):
            problems.report(
                "mismatched", f"{given.places[index]}: {mismatch}; are the answers in another order? try pairing by id"
            )
        else:
            pairs.append((question, answer))
    if missing := len(asked.records) - len(given.records):
        _report_rest(asked if missing > 0 else given, min(len(asked.records), len(given.records)), missing, problems)
    return pairs


def _report_rest(side: _Side, first: int, missing: int, problems: Problems) -> None:
    kind, what = (
        ("missing_answer", f"{missing} questions from here on have no answer")
        if missing > 0
        else ("unknown_question", f"{-missing} answers from here on have no question")
    )
    problems.report(kind, f"{side.places[first]}: {what} (skip errors to score the rest)", abs(missing))


def _mismatch(question: Mapping[str, Any], answer: Mapping[str, Any]) -> str | None:
    ids = question.get("question_id"), answer.get("question_id")
    if None not in ids:
        return None if str(ids[0]) == str(ids[1]) else f"answers question {ids[1]} where question {ids[0]} is asked"
    texts = question.get("text"), _asked_text(answer)
    if None not in texts and str(texts[0]).split() != str(texts[1]).split():
        return f"answers {str(texts[1])!r} where {str(texts[0])!r} is asked"
    return None


def _pair_by_id(asked: _Side, given: _Side, problems: Problems) -> list[tuple[Any, Any]]:
    """In the order of the questions, whatever that of the answers."""
    questions = _by_id(asked, problems)
    answers = _by_id(given, problems)
    for key, index in answers.items():
        if key not in questions:
            problems.report("unknown_question", f"{given.places[index]}: no question has the id {key}")
    pairs = []
    for key, index in questions.items():
        if key in answers:
            pairs.append((asked.records[index], given.records[answers[key]]))
        else:
            problems.report("missing_answer", f"{asked.places[index]}: question {key} has no answer in {given.name}")
    return pairs


def _by_id(side: _Side, problems: Problems) -> dict[str, int]:
    index_of: dict[str, int] = {}
    for index, record in enumerate(side.records):
        if record is None:
            continue
        key = record.get("question_id")
        if key is None:
            problems.report("malformed", f"{side.places[index]}: has no question_id to pair by")
        elif str(key) in index_of:
            problems.report("duplicate", f"{side.places[index]}: a second record of question {key}")
        else:
            index_of[str(key)] = index
    return index_of
