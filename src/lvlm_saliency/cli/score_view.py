"""Scores as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from .output import console

_PERCENT = 100.0
_FILE_WIDTH = 160  # columns, where the output is no terminal

# Benchmark -> columns: heading, figure, factor for print, decimals.
_COLUMNS: dict[str, list[tuple[str, str, float, int]]] = {
    "chair": [
        ("CHAIR_s %", "CHAIR_s", _PERCENT, 1),
        ("CHAIR_i %", "CHAIR_i", _PERCENT, 1),
        ("recall %", "recall", _PERCENT, 1),
        ("length", "length", 1, 1),
    ],
    "pope": [
        ("accuracy %", "accuracy", _PERCENT, 2),
        ("precision %", "precision", _PERCENT, 2),
        ("recall %", "recall", _PERCENT, 2),
        ("F1 %", "f1", _PERCENT, 2),
        ("yes %", "yes_ratio", _PERCENT, 2),
    ],
    "mme": [
        ("perception", "perception", 1, 2),
        ("cognition", "cognition", 1, 2),
        ("hallucination", "hallucination", 1, 2),
    ],
    "amber generative": [(f"{name} %", name, _PERCENT, 1) for name in ("CHAIR", "Cover", "Hal", "Cog")],
    "amber discriminative": [
        ("accuracy %", "accuracy", _PERCENT, 1),
        ("precision %", "precision", _PERCENT, 1),
        ("recall %", "recall", _PERCENT, 1),
        ("F1 %", "f1", _PERCENT, 1),
    ],
}


def print_tables(results: list[dict[str, Any]]) -> None:
    """One table for each task among `results`, a row each, then what the rows were made with and what was left out."""
    out = console()
    if not out.is_terminal:
        out.width = _FILE_WIDTH
    for _, same in groupby(sorted(results, key=_kind), key=_kind):
        rows = list(same)
        out.print(_scores(rows))
        for part in ("tasks", "dimensions"):
            if part in rows[0]:
                out.print(_parts(rows, part))
        if "versus" in rows[0]:
            out.print(_differences(rows))
        out.print(_made_with(rows[0]), style="dim")
        for row in rows:
            for note in _notes(row):
                out.print(f"{row['file']}: {note}", style="yellow")


def _kind(result: Mapping[str, Any]) -> str:
    return " ".join(filter(None, [result["benchmark"], result.get("task")]))


def _scores(rows: list[dict[str, Any]]) -> Table:
    columns = _COLUMNS[_kind(rows[0])]
    counts = _counts(rows[0])
    table = _table(_kind(rows[0]), [heading for heading, *_ in columns] + list(counts))
    for name, row in zip(_names(rows), rows, strict=True):
        cells = [
            _cell(row[figure], row["intervals"].get(figure), factor, digits) for _, figure, factor, digits in columns
        ]
        table.add_row(name, *cells, *_counts(row).values())
    return table


def _value(row: Mapping[str, Any], figure: str, dimension: str = "all") -> float:
    """The figure as the official script prints it, where that differs from the fraction (AMBER), else the fraction."""
    if "printed" not in row:
        return row[figure]
    printed = row["printed"].get(dimension, row["printed"])
    return printed[figure] / _PERCENT


def _parts(rows: list[dict[str, Any]], part: str) -> Table:
    """MME's tasks, AMBER's dimensions: one line each, the systems side by side."""
    table = _table(f"{rows[0]['benchmark']} {part}", _names(rows), first="")
    factor, digits = (1.0, 2) if part == "tasks" else (_PERCENT, 1)
    names = dict.fromkeys(name for row in rows for name in row[part])
    for name in names:
        interval = name if part == "tasks" else f"{name}_f1"
        cells = [
            _cell(_part_value(row, name), row["intervals"].get(interval), factor, digits, one_line=True)
            if name in row[part]
            else ""
            for row in rows
        ]
        table.add_row(name if part == "tasks" else f"{name} F1 %", *cells)
    return table


def _part_value(row: Mapping[str, Any], name: str) -> float:
    return row["tasks"][name]["score"] if "tasks" in row else _value(row, "f1", name)


def _differences(rows: list[dict[str, Any]]) -> Table:
    columns = _COLUMNS[_kind(rows[0])]
    versus = rows[0]["versus"]
    table = _table(f"minus {versus['file']}, paired", [heading for heading, *_ in columns] + ["items"])
    for name, row in zip(_names(rows), rows, strict=True):
        figures = row["versus"]["figures"]
        cells = [
            _cell(figures[figure]["difference"], figures[figure]["interval"], factor, digits, sign="+")
            if figure in figures
            else "-"
            for _, figure, factor, digits in columns
        ]
        table.add_row(name, *cells, str(row["versus"]["items"]))
    return table


def _table(title: str, headings: Iterable[str], first: str = "file") -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _cell(
    value: float, interval: list[float] | None, factor: float, digits: int, sign: str = "", one_line: bool = False
) -> Text:
    """The value, and under it (or beside it) its interval; - where it is undefined."""
    if math.isnan(value):
        return Text("-")
    text = f"{value * factor:{sign}.{digits}f}"
    if interval is None or any(map(math.isnan, interval)):
        return Text(text)
    low, high = (f"{bound * factor:{sign}.{digits}f}" for bound in interval)
    return Text.assemble(text, "  " if one_line else "\n", (f"{low} .. {high}", "dim"))


def _counts(row: Mapping[str, Any]) -> dict[str, str]:
    """The raw counts that the figures are ratios of, short enough for a table."""
    counts = {
        "chair": {
            "captions": "{hallucinated_captions}/{captions}",
            "mentions": "{hallucinated_mentions}/{mentions}",
            "truth": "{recalled_objects}/{truth_objects}",
        },
        "pope": {"TP FP TN FN": "{tp} {fp} {tn} {fn}", "questions": "{questions}"},
        "mme": {},
        "amber generative": {
            "mentions": "{hallucinated_mentions}/{mentions}",
            "covered": "{covered_truth}/{truth}",
            "responses": "{hallucinated_responses}/{responses}",
        },
        "amber discriminative": {
            "right": "{right}/{questions}",
            "right no": "{right_no}/{answered_no}",
            "true no": "{right_no}/{true_no}",
        },
    }[_kind(row)]
    return {heading: form.format_map(row) for heading, form in counts.items()}


def _names(rows: list[dict[str, Any]]) -> list[str]:
    """File names where they tell the rows apart, whole paths where they do not."""
    names = [Path(row["file"]).name for row in rows]
    return names if len(set(names)) == len(names) else [row["file"] for row in rows]


def _made_with(row: Mapping[str, Any]) -> str:
    how = row["bootstrap"]
    parts = [f"{name} {row[name]}" for name in ("variant", "parser", "pairing", "similarity") if name in row]
    if how["resamples"]:
        parts.append(
            f"intervals: {100 * how['level']:g} % percentile bootstrap over {how['unit']}s, "
            f"{how['resamples']} resamples, seed {how['seed']}"
        )
    return "; ".join(parts)


def _notes(row: Mapping[str, Any]) -> list[str]:
    """What was left out, and why."""
    skipped = [row["skipped"], row.get("versus", {}).get("skipped", {})]
    notes = [
        f"skipped {count} ({kind.replace('_', ' ')})" for counts in skipped for kind, count in sorted(counts.items())
    ]
    if row.get("unanswered"):
        notes.append(f"{row['unanswered']} records of this task have no response")
    return notes
