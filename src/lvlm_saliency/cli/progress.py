"""A bar on stderr for long work: what is done, how fast, how long it will take, and notes above it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Bar:
    """One piece of work after the other, each with a bar of its own; an `evaluation.runner.Listener`."""

    def __init__(self, progress: Any):
        self.progress = progress
        self.task: Any = None
        self.written = 0

    def begin(self, label: str, total: int, done: int) -> None:
        if 0 < done < total:
            self.note(f"going on: {done} of {total} {label} are there")
        if done >= total:
            return
        self.progress.start()
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.written = 0
        self.task = self.progress.add_task(label, total=total, completed=done, rate="")

    def advance(self, label: str, count: int) -> None:
        self.written += count
        elapsed = self.progress.tasks[0].elapsed or 0
        rate = f"{self.written / elapsed:.1f}/s" if elapsed else ""
        self.progress.update(self.task, advance=count, description=label, rate=rate)

    def note(self, text: str) -> None:
        self.progress.console.print(text, style="yellow")


@contextmanager
def progress_bar() -> Iterator[Bar]:
    """A `Bar` that is drawn for the length of the block."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    progress = Progress(*columns, console=Console(stderr=True, highlight=False, markup=False))
    try:
        yield Bar(progress)
    finally:
        if progress.tasks:
            progress.stop()
