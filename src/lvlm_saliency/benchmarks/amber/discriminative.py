"""AMBER's yes/no task, **no** positive (docs/scorers.md, quirks 13 and 14).

Official source: junyangwang0410/AMBER `inference.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, Totals, f1, ratio, tabulate

from .records import GENERATIVE, Records, matched, read_annotations

DIMENSIONS = {
    "discriminative-hallucination": ("existence",),
    "discriminative-attribute-state": ("attribute", "state"),
    "discriminative-attribute-number": ("attribute", "number"),
    "discriminative-attribute-action": ("attribute", "action"),
    "discriminative-relation": ("relation",),
    "relation": ("relation",),
}
ALL = "all"
NAMES = (ALL, "existence", "attribute", "state", "number", "action", "relation")
COUNTS = ("questions", "right", "true_no", "answered_no", "right_no")


def score_discriminative(
    responses: Records | str | Path,
    annotations: Records | str | Path,
    *,
    images: Mapping[int, str] | None = None,
    errors: str = "raise",
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """AMBER's accuracy, precision, recall and F1 of yes/no `[{"id", "response"}]`; data as given, or files of it.

    Only exactly "Yes" and "No" are answers; all else is wrong, and no answered no. Existence questions are all no,
    so their precision says nothing. `images`: `{id: image}` from the query files, so that intervals redraw images;
    without it each question is redrawn by itself and `bootstrap["unit"]` says so. `errors`: as in `score_generative`.

    Returns fractions over all questions (NaN where undefined), their counts, the same for each of `dimensions`,
    `printed` (the official figures: percent, one decimal, F1 from rounded figures), `unanswered` records, `intervals`,
    `skipped`, `per_response`. Raises `InputError`.
    """
    problems = Problems(errors)
    records = read_annotations(annotations)
    per_response = []
    for number, response, record in matched(responses, records, lambda kind: kind != GENERATIVE, problems):
        if record["type"] not in DIMENSIONS or record.get("truth") not in {"yes", "no"}:
            raise InputError(f"annotation {number}: {record['type']!r}, {record.get('truth')!r} is no yes/no record")
        per_response.append(
            {
                "id": number,
                "image": None if images is None else images.get(number),
                "type": record["type"],
                "truth": record["truth"],
                "response": response,
            }
        )
    expected = sum(record["type"] != GENERATIVE for record in records.values())
    return _result(per_response, expected, problems, bootstrap or Bootstrap())


def discriminative_table(result: Mapping[str, Any]) -> CountTable:
    """The counts per image, or per question where the image is not known; columns `dimension:count`."""
    present = _present(result["per_response"])
    rows = ((entry["image"] or entry["id"], _counts(entry)) for entry in result["per_response"])
    columns = [f"{name}:{count}" for name in present for count in COUNTS]
    figures = {
        (figure if name == ALL else f"{name}_{figure}"): _figure(name, figure)
        for name in present
        for figure in ("accuracy", "precision", "recall", "f1")
    }
    return tabulate(rows, columns, figures)


def _present(per_response: list[dict[str, Any]]) -> list[str]:
    found = {ALL, *(name for entry in per_response for name in DIMENSIONS[entry["type"]])}
    return [name for name in NAMES if name in found]


def _counts(entry: Mapping[str, Any]) -> dict[str, int]:
    said_no, is_no = entry["response"] == "No", entry["truth"] == "no"
    counts = {
        "questions": 1,
        "right": int(entry["response"] == ("No" if is_no else "Yes")),
        "true_no": int(is_no),
        "answered_no": int(said_no),
        "right_no": int(said_no and is_no),
    }
    return {f"{name}:{count}": value for name in (ALL, *DIMENSIONS[entry["type"]]) for count, value in counts.items()}


def _figure(name: str, figure: str) -> Callable[[Totals], np.ndarray]:
    def precision(total: Totals) -> np.ndarray:
        return ratio(total[f"{name}:right_no"], total[f"{name}:answered_no"])

    def recall(total: Totals) -> np.ndarray:
        return ratio(total[f"{name}:right_no"], total[f"{name}:true_no"])

    return {
        "accuracy": lambda total: ratio(total[f"{name}:right"], total[f"{name}:questions"]),
        "precision": precision,
        "recall": recall,
        "f1": lambda total: f1(precision(total), recall(total)),
    }[figure]


def _result(
    per_response: list[dict[str, Any]], expected: int, problems: Problems, bootstrap: Bootstrap
) -> dict[str, Any]:
    table = discriminative_table({"per_response": per_response})
    values = table.values()
    totals = dict(zip(table.columns, table.counts.sum(axis=0), strict=True))
    present = _present(per_response)
    counts = {name: {count: int(totals[f"{name}:{count}"]) for count in COUNTS} for name in present}
    figures = ("accuracy", "precision", "recall", "f1")
    return {
        "benchmark": "amber",
        "task": "discriminative",
        **{figure: values[figure] for figure in figures},
        **counts[ALL],
        "dimensions": {
            name: {**{figure: values[f"{name}_{figure}"] for figure in figures}, **counts[name]}
            for name in present
            if name != ALL
        },
        "printed": {name: _printed(counts[name], 0.001 if name == "existence" else 0.0001) for name in present},
        "unanswered": expected - len(per_response),
        "intervals": bootstrap.intervals(table),
        "bootstrap": bootstrap.settings("image" if all(entry["image"] for entry in per_response) else "question"),
        "skipped": dict(problems.skipped),
        "per_response": per_response,
    }


def _printed(counts: Mapping[str, int], guard: float) -> dict[str, float]:
    """Percentages as the official script prints them: denominators begin at 0.001, F1 comes from rounded figures."""

    def percent(part: str, whole: str) -> float:
        return round(counts[part] / (counts[whole] + 0.001) * 100, 1)

    precision, recall = percent("right_no", "answered_no"), percent("right_no", "true_no")
    harmonic = 2 * (precision / 100) * (recall / 100) / (precision / 100 + recall / 100 + guard)
    return {
        "accuracy": percent("right", "questions"),
        "precision": precision,
        "recall": recall,
        "f1": round(harmonic * 100, 1),
    }
