"""Parts of a document that a command writes: what stands between two marks is replaced, the rest is left alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def between_marks(path: Path, name: str, lines: Sequence[str]) -> None:
    """Put `lines` between `<!-- name -->` and `<!-- end of name -->`; ends the program where the marks are missing."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = path.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        sys.exit(f"error: {path} does not hold {begin} and {end} once each")
    before, after = text.split(begin)[0], text.split(end)[1]
    path.write_text("\n".join([before + begin, *lines, end]) + after, encoding="utf-8")
