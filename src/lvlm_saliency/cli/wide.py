"""Tables that never lose a column: columns that do not fit are printed below, under the same row names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


UNKNOWN = 140
"""Width of a list where the output goes to a file or a pipe."""


def fit(out: Console) -> None:
    """Give a console that is not a terminal, and has no width set, one that is wide enough for lists as tables."""
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = UNKNOWN


def print_table(out: Console, table: Table) -> None:
    """Print `table`; where it is wider than the console, as several tables that repeat its first column."""
    for part in stacked(out, table):
        out.print(part)


def stacked(out: Console, table: Table) -> list[Table]:
    """`table`, or its columns as several tables that each fit (or hold the first column and one other)."""
    if _width(out, table) <= out.width or len(table.columns) < 2:
        return [table]
    groups: list[list[int]] = []
    for at in range(1, len(table.columns)):
        if groups and _width(out, _part(table, [0, *groups[-1], at])) <= out.width:
            groups[-1].append(at)
        else:
            groups.append([at])
    parts = [_part(table, [0, *group], titled=number == 0) for number, group in enumerate(groups)]
    for part in parts:
        if _width(out, part) > out.width:
            for column in part.columns:
                column.no_wrap, column.overflow, column.min_width = False, "fold", None
    return parts


def _width(out: Console, table: Table) -> int:
    """The width of a table that is not wrapped, in characters."""
    return out.measure(table, options=out.options.update(width=100_000)).maximum


def _part(table: Table, columns: Sequence[int], titled: bool = True) -> Table:
    """Some columns of a table; `titled`: with its title."""
    from rich.table import Table

    part = Table(
        box=table.box,
        pad_edge=table.pad_edge,
        show_edge=table.show_edge,
        title=table.title if titled else None,
        title_justify=table.title_justify,
        title_style=table.title_style,
    )
    chosen = [table.columns[at] for at in columns]
    for column in chosen:
        part.add_column(
            column.header,
            justify=column.justify,
            style=column.style,
            no_wrap=column.no_wrap,
            overflow=column.overflow,
            min_width=column.min_width,
        )
    for row in zip(*(column.cells for column in chosen), strict=True):
        part.add_row(*row)
    return part
