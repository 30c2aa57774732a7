"""A report as Markdown, for a repository or an issue."""

from __future__ import annotations

from lvlm_saliency.evaluation.summary.content import Summary
from lvlm_saliency.pages.markdown import MARKS, escaped, paragraph, table_lines


def markdown(report: Summary) -> str:
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
