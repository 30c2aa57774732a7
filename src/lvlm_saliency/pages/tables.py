"""A table as data, for Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A table's cell. tone: "better", "worse", "changed" or ""."""

    text: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table. Raises ValueError for a row of another length than the head, and TypeError for a cell that is no text:
    what a damaged file says, found here, where it can still be named, and not while a page is drawn."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.head):
                raise ValueError(f"a row of {len(row)} cells under {len(self.head)} headings in {self.title!r}")
            for cell in row:
                if not isinstance(cell.text, str) or not isinstance(cell.note, str):
                    raise TypeError(f"{cell.text!r} stands in {self.title!r} and is no text")

    @property
    def layout(self) -> str:
        """The CSS class for a table of about this width: wider ones turn into cards on larger screens already."""
        columns = zip(self.head, *self.rows, strict=True)
        rem = sum(0.9 + max(len(head) * 0.46, *(_rem(cell) for cell in cells)) for head, *cells in columns)
        return next((name for name, most in (("", 36), ("wide", 56), ("wider", 73)) if rem <= most), "cards")


def _rem(cell: Cell) -> float:
    """The approximate width of a cell on the page, where long texts are wrapped, in rem."""
    lines = [min(len(line), 34) * 0.52 for line in cell.text.splitlines() or [""]]
    return max(*lines, len(cell.note) * 0.44)
