"""Scores as tables: each figure over its interval over the counts that it is the ratio of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from ..plain_text import one_line
from .output import console
from .wide import print_table


class Column(NamedTuple):
    """A figure, how its number is printed, and its counts as a format of the result's fields."""

    heading: str
    figure: str
    counts: str = ""
    digits: int = 1
    factor: float = 100.0


_COLUMNS = {
    "chair": [
        Column("CHAIR_s %", "CHAIR_s", "{hallucinated_captions}/{captions}"),
        Column("CHAIR_i %", "CHAIR_i", "{hallucinated_mentions}/{mentions}"),
        Column("recall %", "recall", "{recalled_objects}/{truth_objects}"),
        Column("length", "length", "{tokens}/{captions}", factor=1),
    ],
    "pope": [
        Column("accuracy %", "accuracy", "{right}/{questions}"),
        Column("precision %", "precision", "{tp}/{said_yes}"),
        Column("recall %", "recall", "{tp}/{positive}"),
        Column("F1 %", "f1"),
        Column("yes %", "yes_ratio", "{said_yes}/{questions}"),
    ],
    "mme": [Column(name, name, digits=2, factor=1) for name in ("perception", "cognition", "hallucination")],
    "amber generative": [
        Column("CHAIR %", "CHAIR", "{hallucinated_mentions}/{mentions}"),
        Column("Cover %", "Cover", "{covered_truth}/{truth}"),
        Column("Hal %", "Hal", "{hallucinated_responses}/{responses}"),
        Column("Cog %", "Cog", "{covered_hallu}/{hallu}"),
    ],
    "amber discriminative": [
        Column("accuracy %", "accuracy", "{right}/{questions}"),
        Column("precision %", "precision", "{right_no}/{answered_no}"),
        Column("recall %", "recall", "{right_no}/{true_no}"),
        Column("F1 %", "f1"),
    ],
    "llava-bench": [
        Column("relative %", "relative", "{n} reviews", factor=1),
        Column("reference x10", "reference", factor=1),
        Column("model x10", "model", factor=1),
        Column("unread", "failed", digits=0, factor=1),
    ],
    "mm-vet": [Column("total %", "total", "{ungraded} ungraded", factor=1), Column("std of runs", "std", factor=1)],
    "vizwiz": [
        Column("accuracy %", "fraction", "{questions} questions", digits=2),
        Column("says unanswerable %", "unanswerable_share"),
        Column("people say so %", "truth_unanswerable_share"),
    ],
    "scienceqa": [
        Column("accuracy %", "accuracy", "{correct}/{questions}", digits=2, factor=1),
        Column("with picture %", "image_accuracy", "{image_correct}/{image_questions}", digits=2, factor=1),
        Column("no letter", "failed", digits=0, factor=1),
    ],
    "hallusionbench": [
        Column("qAcc %", "qAcc", digits=2, factor=1),
        Column("fAcc %", "fAcc", digits=2, factor=1),
        Column("easy %", "easy_aAcc", digits=2, factor=1),
        Column("hard %", "hard_aAcc", digits=2, factor=1),
        Column("aAcc %", "aAcc", digits=2, factor=1),
    ],
    "mmhal-bench": [
        Column("score 0..6", "average_score", "{replies} replies", digits=2, factor=1),
        Column("below 3 %", "hallucination_rate", digits=1),
        Column("unread", "unparsable", digits=0, factor=1),
    ],
    "mmvp": [
        Column("pairs right %", "pair_accuracy", "{both_right}/{pairs}"),
        Column("questions right %", "accuracy", "{right}/{questions}"),
        Column("unclear", "unclear", digits=0, factor=1),
    ],
}


class Parts(NamedTuple):
    """Figures of a benchmark's parts: under which name the result holds them, and how each is shown.

    `figure`: its name within a part (None: a part is a number). `interval`: the name of its interval, out of the
    part's. `none`: the number that says that there is nothing to count.
    """

    name: str
    column: Column
    figure: str | None = None
    interval: str = "{}"
    none: float | None = None


_PARTS = {
    "mme": Parts("tasks", Column("", "score", digits=2, factor=1), "score"),
    "amber discriminative": Parts("dimensions", Column("F1 %", "f1"), "f1", "{}_f1"),
    "llava-bench": Parts("categories", Column("relative %", "relative", factor=1), "relative"),
    "mm-vet": Parts("capabilities", Column("%", "", factor=1)),
    "vizwiz": Parts("per_type", Column("accuracy %", ""), interval="type {}"),
    "scienceqa": Parts("categories", Column("%", "", digits=2, factor=1), interval="", none=-1.0),
    "mmhal-bench": Parts("per_type", Column("score", "", digits=2, factor=1)),
}


def print_tables(results: list[dict[str, Any]]) -> None:
    """One table for each task among `results`, a row each, then what the rows were made with and what was left out."""
    out = console()
    for _, same in groupby(sorted(results, key=_kind), key=_kind):
        rows = list(same)
        print_table(out, _scores(rows))
        parts = _PARTS.get(_kind(rows[0]))
        if parts is not None and rows[0][parts.name]:
            print_table(out, _parts(parts, rows))
        if "versus" in rows[0]:
            print_table(out, _differences(rows))
        # Prose stays on its line, so that it can be searched for; the terminal wraps it.
        out.print(_made_with(rows[0]), style="dim", soft_wrap=True)
        for row in rows:
            for note in _notes(row):
                out.print(f"{one_line(row['file'])}: {note}", style="yellow", soft_wrap=True)


def _kind(result: Mapping[str, Any]) -> str:
    return " ".join(filter(None, [result["benchmark"], result.get("task")]))


def _scores(rows: list[dict[str, Any]]) -> Table:
    columns = _COLUMNS[_kind(rows[0])]
    table = _table(_kind(rows[0]), [column.heading for column in columns])
    for name, row in zip(_names(rows), rows, strict=True):
        fields = {**row, **_sums(row)}
        table.add_row(name, *(_figure(column, row, column.counts.format_map(fields)) for column in columns))
    return table


def _figure(column: Column, row: Mapping[str, Any], counts: str) -> Text:
    return _cell(column, _value(row, column.figure), row["intervals"].get(column.figure), counts)


def _sums(row: Mapping[str, Any]) -> dict[str, int]:
    """POPE's sums of its four counts."""
    if row["benchmark"] != "pope":
        return {}
    return {
        "right": row["tp"] + row["tn"],
        "said_yes": row["tp"] + row["fp"],
        "positive": row["tp"] + row["fn"],
    }


def _value(row: Mapping[str, Any], figure: str, dimension: str = "all") -> float:
    """The figure as the official script prints it, where that differs from the fraction (AMBER), else the fraction."""
    if "printed" not in row:
        return row[figure]
    printed = row["printed"].get(dimension, row["printed"])
    return printed[figure] / 100


def _parts(parts: Parts, rows: list[dict[str, Any]]) -> Table:
    """The parts of a benchmark, MME's tasks say: one line each, the systems side by side."""
    table = _table(f"{rows[0]['benchmark']} {parts.name.removeprefix('per_')}", _names(rows), first="")
    for name in dict.fromkeys(name for row in rows for name in row[parts.name]):
        cells = [_part(parts, row, name) if name in row[parts.name] else "" for row in rows]
        table.add_row(f"{name} {parts.column.heading}".strip(), *cells)
    return table


def _part(parts: Parts, row: Mapping[str, Any], name: str) -> Text:
    found = row[parts.name][name]
    value = found if parts.figure is None else found[parts.figure]
    if "printed" in row:
        value = _value(row, parts.figure, name)
    if value == parts.none:
        value = math.nan
    return _cell(parts.column, value, row["intervals"].get(parts.interval.format(name)), beside=True)


def _differences(rows: list[dict[str, Any]]) -> Table:
    columns = _COLUMNS[_kind(rows[0])]
    table = _table(f"minus {rows[0]['versus']['file']}, paired", [*(column.heading for column in columns), "items"])
    for name, row in zip(_names(rows), rows, strict=True):
        figures = row["versus"]["figures"]
        cells = [
            _cell(column, figures[column.figure]["difference"], figures[column.figure]["interval"], sign="+")
            if column.figure in figures
            else "-"
            for column in columns
        ]
        table.add_row(name, *cells, str(row["versus"]["items"]))
    return table


def _table(title: str, headings: Iterable[str], first: str = "file") -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column(first, overflow="fold", min_width=12)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=heading not in {"", first} and len(heading) < 15)
    return table


def _cell(
    column: Column, value: float, interval: list[float] | None, counts: str = "", sign: str = "", beside: bool = False
) -> Text:
    """The value, its interval below (or beside) it, its counts below that; - where the figure is undefined."""

    def number(fraction: float) -> str:
        return f"{fraction * column.factor:{sign}.{column.digits}f}"

    lines = [Text("-" if math.isnan(value) else number(value))]
    if interval is not None and not any(map(math.isnan, interval)):
        lines.append(Text("..".join(map(number, interval)), style="dim"))
    if counts:
        lines.append(Text(counts, style="dim"))
    return Text("  " if beside else "\n").join(lines)


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
    if row.get("disagreeing"):
        notes.append(f"{row['disagreeing']} stored marks are not those of their reply")
    if row.get("unanswered"):
        notes.append(f"{row['unanswered']} records of this task have no response")
    return notes
