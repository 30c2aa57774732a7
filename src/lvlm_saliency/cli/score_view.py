"""Scores as tables: each figure over its interval over the counts that it is the ratio of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ..benchmarks.registry import scores_of
from ..benchmarks.spec import Column, Parts
from ..plain_text import one_line
from .output import console
from .wide import print_table


def print_tables(results: list[dict[str, Any]]) -> None:
    """One table for each task among `results`, a row each, then what the rows were made with and what was left out."""
    out = console()
    for _, same in groupby(sorted(results, key=_kind), key=_kind):
        rows = list(same)
        print_table(out, _scores(rows))
        parts = scores_of(rows[0]["benchmark"]).parts.get(rows[0].get("task", ""))
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


def _columns(result: Mapping[str, Any]) -> Sequence[Column]:
    return scores_of(result["benchmark"]).columns[result.get("task", "")]


def _scores(rows: list[dict[str, Any]]) -> Table:
    columns = _columns(rows[0])
    table = _table(_kind(rows[0]), [column.heading for column in columns])
    for name, row in zip(_names(rows), rows, strict=True):
        fields = {**row, **scores_of(row["benchmark"]).sums(row)}
        table.add_row(name, *(_figure(column, row, column.counts.format_map(fields)) for column in columns))
    return table


def _figure(column: Column, row: Mapping[str, Any], counts: str) -> Text:
    return _cell(column, _value(row, column.figure), row["intervals"].get(column.figure), counts)


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
    if "printed" in row and parts.figure is not None:
        value = _value(row, parts.figure, name)
    if value == parts.none:
        value = math.nan
    return _cell(parts.column, value, row["intervals"].get(parts.interval.format(name)), beside=True)


def _differences(rows: list[dict[str, Any]]) -> Table:
    columns = _columns(rows[0])
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
    if judge := row.get("judge"):
        parts.append(f"judged by {judge.get('served') or judge.get('model')}, {judge.get('unparsable', 0)} unparsable")
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
