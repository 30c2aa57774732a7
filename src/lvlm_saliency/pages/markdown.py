"""Tables and foreign text as Markdown, for a repository or an issue."""

from __future__ import annotations

import re

from lvlm_saliency.pages.tables import Cell, Table
from lvlm_saliency.plain_text import printable

_ACTIVE = re.compile(r"[\\`*|]|(?<=\])[(:]")
_OPENING = re.compile(r"^(\s*)(?=#{1,6}\s|>|[+-]\s|[=-]+\s*$|~~~)")

MARKS = {"better": " ✓", "worse": " ✗", "changed": " •"}


def table_lines(table: Table) -> list[str]:
    """The table, and its note below."""
    lines = ["| " + " | ".join(escaped(name) for name in table.head) + " |", "|" + "---|" * len(table.head)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
    return [*lines, "", *([f"_{escaped(table.note)}_", ""] if table.note else [])]


def _cell(cell: Cell) -> str:
    note = f" <sub>{escaped(cell.note)}</sub>" if cell.note else ""
    return escaped(cell.text) + MARKS.get(cell.tone, "") + note


def escaped(text: str) -> str:
    """Text in one line that Markdown shows as it is, without links, pictures, code, cell borders or tags, and without
    characters that control a terminal."""
    line = _ACTIVE.sub(r"\\\g<0>", printable(text).replace("\n", " ⏎ "))
    return line.replace("<", "&lt;").replace("CHAIR_", "CHAIR\\_")


def paragraph(text: str) -> str:
    """As `escaped`, for the beginning of a line: it becomes no heading, list or quotation either."""
    return _OPENING.sub(r"\1\\", escaped(text))


def fenced(text: str) -> list[str]:
    """Lines of a code block that holds `text`, which may contain fences itself."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, printable(text), fence]
