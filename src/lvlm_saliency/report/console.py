"""The console that everything is printed on: no printed text can control the terminal."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment
from rich.style import StyleType
from rich.text import Text

from ..plain_text import printable


class PlainConsole(Console):
    """A rich console without markup, emoji codes and highlighting of printed text. Characters that could control a
    terminal are printed as dots (`plain_text.printable`), so the only escape codes are rich's own."""

    def __init__(self, **settings: Any):
        super().__init__(highlight=False, markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """As `Console.render_str`, with the replacement made before widths are measured."""
        return super().render_str(printable(text), **settings)

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        """As `Console.render`, with the replacement for `Text` objects that were made without `plain`."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Pass the error on where the reader of the output has gone; rich would exit with status 1 in its place."""
        raise BrokenPipeError(errno.EPIPE, "the reader of the output has gone")


def plain(text: str, style: StyleType = "") -> Text:
    """Foreign text as a `Text`, for cells and lines whose width is measured."""
    return Text(printable(text), style=style)
