"""LLaVA-Bench (in the wild): a judge's marks for a model beside those for reference answers (Liu et al. 2023).

Official source: haotian-liu/LLaVA `eval_gpt_review_bench.py` (how a reply is read) and `summarize_gpt_review.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvlm_saliency.benchmarks.judged import id_of, result, text_of
from lvlm_saliency.files.records import Problems, place, read_rows
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, Totals, ratio, tabulate

Rows = Sequence[Mapping[str, Any]] | str | Path

FAILED = (-1.0, -1.0)
COLUMNS = ("reference", "model", "reviews", "judged_reference", "judged_model", "failed")


def parse(reply: str) -> tuple[float, float]:
    """The marks of the reference and of the model in a judge's reply; (-1, -1) where the official rule finds none.

    The first line, commas read as blanks, cut at every single blank, must be exactly two numbers. So "8,9" is read and
    "8, 9", " 8 9", "8/10 9/10" and an empty first line are not. There is no check of the range. A mark that is no
    finite number, which the official rule takes, counts as none: it would make every mean NaN.
    """
    parts = reply.split("\n", maxsplit=1)[0].replace(",", " ").split(" ")
    if len(parts) != 2:
        return FAILED
    try:
        reference, model = map(float, parts)
    except ValueError:
        return FAILED
    return (reference, model) if math.isfinite(reference) and math.isfinite(model) else FAILED


def score(reviews: Rows, *, errors: str = "raise") -> dict[str, dict[str, float]]:
    """LLaVA-Bench of a judge's `reviews`, records of `category` and `content` (the reply as it came), or a file.

    Returns for every category and for "all": `relative` (100 model / reference, from means rounded to 3 decimals,
    itself rounded to 1: the published figure), `reference` and `model` (the means times 10, rounded to 1), `n`
    reviews, `failed` of them without readable marks, which officially count as -1 in both means; `judged_relative` is
    the careful figure without those, unrounded. NaN where there is nothing to divide by. Raises `InputError`.
    """
    return _figures(_entries(reviews, Problems(errors)))


def report(reviews: Rows, *, errors: str = "raise", bootstrap: Bootstrap | None = None) -> dict[str, Any]:
    """`score` with what a table shows: `categories`, `intervals` of each category's ratio (questions are redrawn within
    their category), `disagreeing` (reviews whose stored marks are not those of their reply), `per_question`."""
    problems = Problems(errors)
    entries = _entries(reviews, problems)
    figures = _figures(entries)
    return result(
        "llava-bench",
        table({"per_question": entries}),
        "question",
        problems,
        bootstrap,
        **figures["all"],
        categories={name: values for name, values in figures.items() if name != "all"},
        disagreeing=sum(entry["disagrees"] for entry in entries),
        per_question=entries,
    )


def table(found: Mapping[str, Any]) -> CountTable:
    """The sums per question of a result of `report`."""
    categories = list(dict.fromkeys(entry["category"] for entry in found["per_question"]))
    rows = (
        (
            (entry["category"], entry["question_id"]),
            {f"{name}:{column}": entry[column] for column in COLUMNS for name in ("all", entry["category"])},
        )
        for entry in found["per_question"]
    )
    columns = [f"{name}:{column}" for name in ("all", *categories) for column in COLUMNS]
    figures = {"relative": _relative("all")} | {name: _relative(name) for name in categories}
    return tabulate(rows, columns, figures, stratum=lambda key: key[0])  # type: ignore[index]


def _relative(name: str) -> Any:
    def figure(total: Totals) -> np.ndarray:
        return 100 * ratio(total[f"{name}:model"], total[f"{name}:reference"])

    return figure


def _entries(reviews: Rows, problems: Problems) -> list[dict[str, Any]]:
    rows = read_rows(reviews, problems) if isinstance(reviews, str | Path) else reviews
    entries = []
    for index, record in enumerate(rows):
        where = place(rows, index, "reviews")
        category, content = text_of(record, "category", where), text_of(record, "content", where)
        marks = parse(content)
        failed = marks == FAILED
        stored = record.get("tuple")
        entries.append(
            {
                "question_id": id_of(record, "question_id", index, where),
                "category": category,
                "reference": marks[0],
                "model": marks[1],
                "reviews": 1,
                "judged_reference": 0.0 if failed else marks[0],
                "judged_model": 0.0 if failed else marks[1],
                "failed": int(failed),
                "disagrees": stored is not None and stored not in (list(marks), marks),
            }
        )
    return entries


def _figures(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[Mapping[str, Any]]] = {"all": list(entries)}
    for entry in entries:
        groups.setdefault(entry["category"], []).append(entry)
    return {name: _group(group) for name, group in sorted(groups.items())}


def _group(entries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    if not entries:
        nan = float("nan")
        return {"relative": nan, "reference": nan, "model": nan, "judged_relative": nan, "failed": 0, "n": 0}
    means = np.asarray([(entry["reference"], entry["model"]) for entry in entries]).mean(0).tolist()
    reference, model = (round(mean, 3) for mean in means)
    judged = [sum(entry[f"judged_{side}"] for entry in entries) for side in ("model", "reference")]
    return {
        "relative": round(model / reference * 100, 1) if reference else float("nan"),
        "reference": round(reference * 10, 1),
        "model": round(model * 10, 1),
        "judged_relative": 100 * float(ratio(*judged)),
        "failed": sum(entry["failed"] for entry in entries),
        "n": len(entries),
    }
