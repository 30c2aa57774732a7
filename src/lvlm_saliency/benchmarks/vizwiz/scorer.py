"""Accuracy against ten people's answers, and whether a question is known to be unanswerable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.benchmarks.judged import mean_of, result, text_of
from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.extras import require
from lvlm_saliency.files.records import Problems, place, read_rows
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, tabulate

from .normalise import VARIANTS, normalise

Rows = Sequence[Mapping[str, Any]] | str | Path

UNANSWERABLE = "unanswerable"
COLUMNS = ("questions", "accuracy", "unanswerable", "truth_unanswerable")
PEOPLE = 10


def score(
    annotations: Rows,
    answers: Rows,
    variant: str = "vizwiz_api",
    *,
    errors: str = "raise",
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """VizWiz accuracy of `answers` (`[{"image", "answer"}]`), paired with `annotations` by picture, or files of both.

    `annotations`: `[{"image", "answers": [{"answer"}], "answerable", "answer_type"}]`; the last two may be missing. An
    answer p is worth the mean over people i of min(1, matches among the others / 3).

    `variant` "vizwiz_api": p is normalised, the people's answers stay as they are, however many; "llava_m4c" (LLaVA,
    lmms-eval): both are normalised, and exactly ten are required.

    Returns `accuracy` as the official scorer prints it (vizwiz_api: percent, 2 decimals; llava_m4c: fraction),
    `fraction` (unrounded, either way), `unanswerable_share` (of the answers; a model that always says so scores too)
    and `truth_unanswerable_share` (of the people's answers), `per_type` where annotated, `unanswerability` (vizwiz_api
    and `answerable` given: average precision and F1 in percent, an answer other than "unanswerable" being read as
    answerable), `questions`, `intervals` (pictures are redrawn), `per_question`. Raises `InputError`, `SettingError`.

    These are figures of the split that the annotations are of. Published ones are of test-dev, from the upload server.
    """
    if variant not in VARIANTS:
        raise SettingError(f"no VizWiz variant {variant!r}{did_you_mean(variant, VARIANTS)}")
    problems = Problems(errors)
    said = {row["image"]: row["answer"] for row in _checked(answers, "answers", "answer", problems)}
    entries = []
    for row, where in _annotated(annotations, variant, problems):
        if row["image"] in said:
            entries.append(_entry(row, said[row["image"]], variant))
        else:
            problems.report("missing_answer", f"{where}: {row['image']} has no answer")
    counts = table({"per_question": entries})
    values = counts.values()
    fraction = sum(entry["accuracy"] for entry in entries) / len(entries) if entries else float("nan")
    types = {name[5:]: value for name, value in values.items() if name.startswith("type ")}
    return result(
        "vizwiz",
        counts,
        "image",
        problems,
        bootstrap,
        variant=variant,
        accuracy=round(100 * fraction, 2) if variant == "vizwiz_api" else fraction,
        fraction=fraction,
        unanswerable_share=values["unanswerable_share"],
        truth_unanswerable_share=values["truth_unanswerable_share"],
        per_type=types,
        unanswerability=_unanswerability(entries) if variant == "vizwiz_api" else None,
        questions=len(entries),
        per_question=entries,
    )


def table(found: Mapping[str, Any]) -> CountTable:
    """The sums per picture of a result of `score`."""
    kinds = sorted({entry["type"] for entry in found["per_question"] if entry["type"]})
    rows = (
        (
            entry["image"],
            {
                **{name: float(entry[name]) for name in COLUMNS},
                f"{entry['type']}:accuracy": entry["accuracy"],
                f"{entry['type']}:questions": 1,
            },
        )
        for entry in found["per_question"]
    )
    figures: dict[str, Callable] = {
        "fraction": mean_of("accuracy", "questions"),
        "unanswerable_share": mean_of("unanswerable", "questions"),
        "truth_unanswerable_share": mean_of("truth_unanswerable", "questions"),
        **{f"type {kind}": mean_of(f"{kind}:accuracy", f"{kind}:questions") for kind in kinds},
    }
    columns = [*COLUMNS, *(f"{kind}:{what}" for kind in kinds for what in ("accuracy", "questions"))]
    return tabulate(rows, columns, figures)


def submission(questions: Rows, answers: Rows, *, errors: str = "raise") -> list[dict[str, str]]:
    """The upload file of LLaVA `answers` (`[{"question_id", "text"}]`) to `questions` (`[{"question_id", "image"}]`):
    one `{"image", "answer"}` a question, in their order, each answer normalised as LLaVA does it. Raises
    `InputError`."""
    problems = Problems(errors)
    given = read_rows(answers, problems) if isinstance(answers, str | Path) else answers
    asked = read_rows(questions, problems) if isinstance(questions, str | Path) else questions
    texts = {
        row.get("question_id"): text_of(row, "text", place(given, index, "answers")) for index, row in enumerate(given)
    }
    upload = []
    for index, row in enumerate(asked):
        where = place(asked, index, "questions")
        if (key := row.get("question_id")) in texts:
            upload.append({"image": text_of(row, "image", where), "answer": normalise(texts[key], "llava_m4c")})
        else:
            problems.report("missing_answer", f"{where}: question {key} has no answer")
    return upload


def worth(answer: str, people: Sequence[str]) -> float:
    """What `answer` is worth against the people's answers, a fraction."""
    matches = [sum(other == answer for j, other in enumerate(people) if j != i) for i in range(len(people))]
    shares = [min(1, float(count) / 3) for count in matches]
    return sum(shares) / len(shares)


def _entry(row: Mapping[str, Any], said: str, variant: str) -> dict[str, Any]:
    people = [person["answer"] for person in row["answers"]]
    if variant == "llava_m4c":
        people = [normalise(answer, variant) for answer in people]
    answer = normalise(said, variant)
    return {
        "image": row["image"],
        "answer": answer,
        "accuracy": worth(answer, people),
        "questions": 1,
        "unanswerable": int(answer == UNANSWERABLE),
        "truth_unanswerable": sum(person.strip().lower() == UNANSWERABLE for person in people) / len(people),
        "answerable": row.get("answerable"),
        "type": row.get("answer_type") or "",
    }


def _unanswerability(entries: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    truth = [entry["answerable"] for entry in entries]
    if not truth or None in truth:
        return None
    require("studies", "sklearn", what="the score of unanswerable questions")
    from sklearn.metrics import average_precision_score, f1_score

    cannot, said = [1 - int(known) for known in truth], [entry["unanswerable"] for entry in entries]
    if not any(cannot):
        return None
    return {
        "average_precision": round(100 * float(average_precision_score(cannot, said)), 2),
        "f1_score": round(100 * float(f1_score(cannot, said)), 2),
    }


def _annotated(annotations: Rows, variant: str, problems: Problems) -> list[tuple[Mapping[str, Any], str]]:
    rows = read_rows(annotations, problems) if isinstance(annotations, str | Path) else annotations
    found = []
    for index, row in enumerate(rows):
        where = place(rows, index, "annotations")
        people: Any = row.get("answers") if isinstance(row, Mapping) else None
        usable = isinstance(people, list) and people and isinstance(row.get("image"), str)
        usable = usable and isinstance(row.get("answer_type"), str | None) and row.get("answerable") in (0, 1, None)
        if not usable or not all(isinstance(p, Mapping) and isinstance(p.get("answer"), str) for p in people):
            problems.report(
                "malformed",
                f"{where}: needs 'image' and 'answers', a list of objects with an 'answer' (and "
                "an 'answer_type' that is text, an 'answerable' that is 0 or 1, where it has them)",
            )
        elif variant == "llava_m4c" and len(people) != PEOPLE:
            problems.report("not_ten", f"{where}: {len(people)} people answered, and llava_m4c takes exactly {PEOPLE}")
        else:
            found.append((row, where))
    return found


def _checked(rows: Rows, name: str, wanted: str, problems: Problems) -> list[Mapping[str, Any]]:
    rows = read_rows(rows, problems) if isinstance(rows, str | Path) else rows
    found, seen = [], set()
    for index, row in enumerate(rows):
        where = place(rows, index, name)
        if not isinstance(row, Mapping) or not all(isinstance(row.get(key), str) for key in ("image", wanted)):
            problems.report("malformed", f"{where}: needs 'image' and {wanted!r}, both texts")
        elif row["image"] in seen:
            problems.report("duplicate", f"{where}: a second answer for {row['image']}")
        else:
            seen.add(row["image"])
            found.append(row)
    return found
