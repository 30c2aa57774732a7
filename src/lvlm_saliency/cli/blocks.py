"""Lists that do not fit into a table: a block for each entry, heads and texts side by side, at any width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .wide import fit

if TYPE_CHECKING:
    from rich.console import Console


def print_list(
    out: Console,
    found: Sequence[dict[str, Any]],
    table: Callable[[Console, Sequence[dict[str, Any]]], None],
    blocks: Callable[[Console, Sequence[dict[str, Any]]], None],
    least: int,
    hint: str,
) -> None:
    """A list as a table, or as blocks where the terminal has fewer than `least` columns; the hint comes below."""
    fit(out)
    (table if out.width >= least else blocks)(out, found)
    out.print(f"\n{hint}", style="dim")


def print_blocks(out: Console, entries: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> None:
    """Each entry's title in a line, then its (head, text) pairs; entries with a blank line between."""
    from rich.text import Text

    widest = max((len(head) for _, lines in entries for head, _ in lines), default=0)
    for number, (title, lines) in enumerate(entries):
        out.print(Text("\n" * bool(number)).append(title, style="bold"))
        out.print(pairs(lines, widest))


def pairs(lines: Sequence[tuple[str, str]], widest: int = 0) -> Any:
    """Heads and texts side by side, the texts wrapped within their own column; a pair without text is left out."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=widest)
    grid.add_column(overflow="fold")
    for head, text in lines:
        if text:
            grid.add_row(head, Text(text))
    return Padding(grid, (0, 0, 0, 2))


def unwrapped(text: str) -> str:
    """A docstring whose paragraphs and entries are a line each, for the terminal to wrap at its own width."""
    lines: list[str] = []
    start = 0  # the indent of the entry that is being read
    for line in text.splitlines():
        indent, bare = len(line) - len(line.lstrip()), line.strip()
        before = lines[-1] if lines else ""
        apart = not bare or not before or before.endswith(":") or bare.startswith("- ")
        if apart or (indent <= start and (indent, start) != (0, 0)):
            lines.append(line.rstrip())
            start = indent
        else:
            lines[-1] = f"{before} {bare}"
    return "\n".join(lines)
