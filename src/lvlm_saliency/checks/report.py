"""What a check found: one row for each promise."""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass
from typing import Any

STATES = ("pass", "fail", "refused", "not possible")
WIDTH = 80


@dataclass(frozen=True)
class CheckRow:
    """One check.

    Attributes:
        name: what was checked.
        state: "pass", "fail", "refused" (the package does not support the model) or "not possible" (the check could not
            be made, which says nothing about the model); `detail` says why.
        figure: what was measured; None where nothing was.
        limit: the largest figure that passes; None where nothing was measured.
        detail: what exactly was measured.
    """

    name: str
    state: str
    figure: float | None = None
    limit: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class CheckReport:
    """The result of `check` for one model.

    Attributes:
        model: its class.
        dtype: in which it was checked.
        device: on which it was checked.
        text_only: whether it takes no pictures.
        seconds: wall-clock time.
        rows: one per check, in order.
    """

    model: str
    dtype: str
    device: str
    text_only: bool
    seconds: float
    rows: tuple[CheckRow, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed, and the model is not refused. What was not possible does not count either way."""
        return all(row.state in ("pass", "not possible") for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"ok": self.ok, **dataclasses.asdict(self), "rows": [dataclasses.asdict(row) for row in self.rows]}

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        refused = [row for row in self.rows if row.state == "refused"]
        if refused:
            return "refused: this model cannot be traced here"
        count = {state: sum(row.state == state for row in self.rows) for state in STATES}
        open_ones = f", {count['not possible']} not possible" if count["not possible"] else ""
        return f"{count['pass']} passed, {count['fail']} failed{open_ones}"

    def __str__(self) -> str:
        kind = "text model" if self.text_only else "sees pictures"
        lines = [f"{self.model} ({self.dtype}, {self.device}, {kind})"]
        widest = max((len(row.name) for row in self.rows), default=0)
        for row in self.rows:
            figures = "" if row.figure is None else f"  {row.figure:.3g}"
            figures += "" if row.figure is None or row.limit is None else f" (limit {row.limit:.3g})"
            mark = row.state if row.state == "pass" else row.state.upper()
            lines.append(f"{mark:<12}  {row.name:<{widest}}{figures}".rstrip())
            indent = " " * 14
            lines += textwrap.wrap(
                row.detail, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
            )
        lines.append(f"{self.verdict}, in {self.seconds:.1f} s")
        return "\n".join(lines)
