"""A report as Markdown, for a repository or an issue."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lvlm_saliency.evaluation.report.content import Cell, Table
from lvlm_saliency.plain_text import printable

if TYPE_CHECKING:
    from lvlm_saliency.evaluation.report.build import Report

_ACTIVE = re.compile(r"[\\`*|]|(?<=\])[(:]")
_OPENING = re.compile(r"^(\s*)(?=#{1,6}\s|>|[+-]\s|[=-]+\s*$|~~~)")

MARKS = {"better": " ✓", "worse": " ✗", "changed": " •"}


def markdown(report: Report) -> str:
    """The tables and findings; plots are on the HTML page."""
    lines = [f"# {escaped(report.title)}", "", paragraph(report.lead), ""]
    for section in report.sections:
        lines += [f"## {escaped(section.title)}", "", paragraph(section.lead), ""]
        lines += [f"- {escaped(finding)}" for finding in section.findings] + [""]
        for number, table in enumerate(section.tables):
            lines += [] if not number else [f"### {escaped(table.title)}", ""]
            lines += table_lines(table)
        for part, tables in section.more:
            for number, table in enumerate(tables):
                title = table.title if number else f"{section.title}, {part}"
                lines += [f"### {escaped(title)}", "", *table_lines(table)]
    lines += ["## How it was run", ""]
    for table in report.setup:
        lines += [f"### {escaped(table.title)}", "", *table_lines(table)]
    if any(mark in line for mark in MARKS.values() for line in lines):
        lines += ["✓ better and ✗ worse than greedy decoding, • changed: the interval leaves 0 out.", ""]
    return "\n".join(lines)


def table_lines(table: Table) -> list[str]:
    """The table, and its note below."""
    lines = ["| " + " | ".join(escaped(name) for name in table.head) + " |", "|" + "---|" * len(table.head)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
    return [*lines, "", *([f"_{escaped(table.note)}_", ""] if table.note else [])]


def _cell(cell: Cell) -> str:
    note = f" <sub>{escaped(cell.note)}</sub>" if cell.note else ""
    return escaped(cell.text) + MARKS.get(cell.tone, "") + note


def escaped(text: str) -> str:
    """Text that Markdown leaves as it is, in one line: no link, picture, code, cell border or tag comes of it, and
    nothing in it steers the terminal of whoever looks at the file."""
    line = _ACTIVE.sub(r"\\\g<0>", printable(text).replace("\n", " ⏎ "))
    return line.replace("<", "&lt;").replace("CHAIR_", "CHAIR\\_")


def paragraph(text: str) -> str:
    """`escaped`, for a line that begins with it: no heading, list or quotation comes of it either."""
    return _OPENING.sub(r"\1\\", escaped(text))


def fenced(text: str) -> list[str]:
    """Lines of a code block that holds `text`, whatever fences stand in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, printable(text), fence]
