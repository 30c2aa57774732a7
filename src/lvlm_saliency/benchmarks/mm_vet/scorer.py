"""MM-Vet: a judge's mark between 0 and 1 for every answer, by capability (Yu et al. 2023).

Official source: yuweihao/MM-Vet `mm-vet_evaluator.py`. A question may need several capabilities and counts for each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvlm_saliency.benchmarks.judged import finite, mean_of, named, result
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems, read_json
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, tabulate

Source = Mapping[str, Any] | str | Path

CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")


def parse(reply: str) -> float | None:
    """The mark that opens a judge's reply: what stands before its first blank, a number from 0 to 1; None otherwise.

    So " 0.8" has none (nothing stands before its blank), and "0.5 because", "1" and "5e-1" have one.
    """
    try:
        mark = float(reply.split(" ", maxsplit=1)[0].strip())
    except ValueError:
        return None
    return mark if 0.0 <= mark <= 1.0 else None


def score(
    metadata: Source,
    grades: Source,
    *,
    subset: Collection[str] | None = None,
    errors: str = "raise",
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """MM-Vet of `grades`, the official object id -> `{"score": [one per run], "content": [...]}`, or a file of it.

    `metadata`: the official `mm-vet.json`, id -> `{"imagename", "capability", ...}`. `subset`: only these ids. Shares
    are of all questions of the metadata (of the subset), so that one without a grade counts as 0; `ungraded` says how
    many.

    Returns percentages rounded to 1 decimal, as the official script prints them: `total`, `std` (over runs, not over
    questions; population form), `runs` (the total of each), `capabilities` and `combinations` (exact sets, names
    sorted and joined by "+"), each the mean over runs, and `questions` of each; `disagreeing` counts marks that are
    not those of their stored reply; `intervals` (pictures are redrawn), `per_question`. Raises `InputError`.
    """
    asked = _object(metadata, "metadata")
    if subset is not None:
        asked = {name: asked[name] for name in _known(subset, asked)}
    given = _object(grades, "grades")
    problems = Problems(errors)
    for name in given:
        if name not in asked and subset is None:
            problems.report("unknown_question", f"{named(grades, 'grades')}: {name} is not in the metadata")
    entries, runs = _entries(asked, given, named(metadata, "metadata"), named(grades, "grades"))
    counts = table({"per_question": entries})
    marks = np.asarray([entry["scores"] for entry in entries]).reshape(len(entries), runs)
    of_runs = {name: _per_run(marks, [name in entry["groups"] for entry in entries]) for name in counts.figures}
    capabilities = [name for name in counts.figures if name in CAPABILITIES]
    combinations = sorted({entry["combination"] for entry in entries})
    return result(
        "mm-vet",
        counts,
        "image",
        problems,
        bootstrap,
        total=round(of_runs["total"].mean(), 1),
        std=round(of_runs["total"].std(), 1),
        runs=[float(each) for each in np.round(of_runs["total"], 1)],
        capabilities={name: round(of_runs[name].mean(), 1) for name in capabilities},
        combinations={name: round(of_runs[f"= {name}"].mean(), 1) for name in combinations},
        questions={
            "total": len(entries),
            **{name: sum(name in entry["groups"] for entry in entries) for name in capabilities},
            **{f"= {name}": sum(name == entry["combination"] for entry in entries) for name in combinations},
        },
        ungraded=sum(entry["ungraded"] for entry in entries),
        disagreeing=sum(entry["disagreeing"] for entry in entries),
        per_question=entries,
    )


def table(found: Mapping[str, Any]) -> CountTable:
    """The marks per picture of a result of `score`."""
    groups = dict.fromkeys(group for entry in found["per_question"] for group in entry["groups"])
    order = ["total", *(name for name in CAPABILITIES if name in groups), *sorted(g for g in groups if g[0] == "=")]
    rows = (
        (
            entry["image"],
            {
                f"{group}:{what}": value
                for group in entry["groups"]
                for what, value in (("n", 1), ("mark", entry["score"]))
            },
        )
        for entry in found["per_question"]
    )
    columns = [f"{group}:{what}" for group in order for what in ("n", "mark")]
    return tabulate(rows, columns, {group: mean_of(f"{group}:mark", f"{group}:n", 100.0) for group in order})


def _per_run(marks: np.ndarray, members: Sequence[bool]) -> np.ndarray:
    """100 times the mean over the questions, for each run."""
    chosen = marks[np.asarray(members, bool)]
    return chosen.sum(axis=0) / len(chosen) * 100


def _entries(
    asked: Mapping[str, Any], given: Mapping[str, Any], source: str, file: str
) -> tuple[list[dict[str, Any]], int]:
    runs = max((len(_marks(grade, f"{file}: {name}")) for name, grade in given.items() if name in asked), default=0)
    if not runs:
        raise InputError(f"{file}: no question of the metadata has a grade")
    entries = []
    for name, question in asked.items():
        wanted = question.get("capability") if isinstance(question, Mapping) else None
        if not isinstance(wanted, list) or not wanted or not all(one in CAPABILITIES for one in wanted):
            raise InputError(f"{source}: {name}: needs 'capability', a list out of {', '.join(CAPABILITIES)}")
        marks = _marks(given[name], f"{file}: {name}") if name in given else [0.0] * runs
        if len(marks) != runs:
            raise InputError(f"{file}: {name} has {len(marks)} runs where others have {runs}")
        combination = "+".join(sorted(set(wanted)))
        replies = given.get(name, {}).get("content") or []
        if not isinstance(replies, list):
            raise InputError(f"{file}: {name}: 'content' is no list of replies")
        entries.append(
            {
                "question_id": name,
                "image": str(question.get("imagename", name)),
                "combination": combination,
                "groups": ["total", *sorted(set(wanted)), f"= {combination}"],
                "scores": marks,
                "score": sum(marks) / runs,
                "ungraded": int(name not in given),
                "disagreeing": sum(
                    parse(reply) != mark for reply, mark in zip(replies, marks, strict=False) if isinstance(reply, str)
                ),
            }
        )
    return entries, runs


def _marks(grade: Any, where: str) -> list[float]:
    marks = grade.get("score") if isinstance(grade, Mapping) else None
    if not isinstance(marks, list) or not marks:
        raise InputError(f"{where}: needs 'score', a list with one mark per run")
    marks = [finite(mark, where) for mark in marks]
    if not all(0 <= mark <= 1 for mark in marks):
        raise InputError(f"{where}: a mark lies between 0 and 1, not {marks}")
    return marks


def _object(value: Source, name: str) -> dict[str, Any]:
    found = read_json(value) if isinstance(value, str | Path) else value
    if not isinstance(found, Mapping) or not found:
        raise InputError(f"{named(value, name)}: expected an object of question ids that is not empty")
    return dict(found)


def _known(subset: Collection[str], asked: Mapping[str, Any]) -> list[str]:
    if missing := [name for name in subset if name not in asked]:
        raise InputError(f"subset: {missing[0]} is not in the metadata")
    return list(dict.fromkeys(subset))
