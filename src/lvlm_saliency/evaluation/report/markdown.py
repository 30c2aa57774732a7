"""A report as Markdown, for a repository or an issue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlm_saliency.evaluation.report.content import Cell, Table

if TYPE_CHECKING:
    from lvlm_saliency.evaluation.report.build import Report

MARKS = {"better": " ✓", "worse": " ✗", "changed": " •"}


def markdown(report: Report) -> str:
    """The tables and findings; plots are on the HTML page."""
    lines = [f"# {report.title}", "", report.lead, ""]
    for section in report.sections:
        lines += [f"## {section.title}", "", section.lead, ""]
        lines += [f"- {escaped(finding)}" for finding in section.findings] + [""]
        for number, table in enumerate(section.tables):
            lines += [] if not number else [f"### {table.title}", ""]
            lines += table_lines(table)
        for part, tables in section.more:
            for number, table in enumerate(tables):
                lines += [f"### {table.title}" if number else f"### {section.title}, {part}", "", *table_lines(table)]
    lines += ["## How it was run", ""]
    for table in report.setup:
        lines += [f"### {table.title}", "", *table_lines(table)]
    marks = "✓ better and ✗ worse than greedy decoding, • changed: the interval leaves 0 out."
    return "\n".join([*lines, marks, ""])


def table_lines(table: Table) -> list[str]:
    """The table, and its note below."""
    lines = ["| " + " | ".join(escaped(name) for name in table.head) + " |", "|" + "---|" * len(table.head)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
    return [*lines, "", *([f"_{table.note}_", ""] if table.note else [])]


def _cell(cell: Cell) -> str:
    note = f" <sub>{cell.note}</sub>" if cell.note else ""
    return escaped(cell.text) + MARKS.get(cell.tone, "") + note


def escaped(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ⏎ ").replace("CHAIR_", "CHAIR\\_")
