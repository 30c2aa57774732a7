"""Progress of long work on stderr: done, rate, time left. A bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..plain_text import one_line
from .output import console, say

EVERY = 30.0
"""Seconds between two lines of progress."""


class Bar:
    """A bar for each piece of work; an `evaluation.runner.Listener`."""

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
        self.task = self.progress.add_task(one_line(label), total=total, completed=done, rate="")

    def advance(self, label: str, count: int) -> None:
        self.written += count
        elapsed = self.progress.tasks[0].elapsed or 0
        rate = f"{self.written / elapsed:.1f}/s" if elapsed else ""
        self.progress.update(self.task, advance=count, description=one_line(label), rate=rate)

    def note(self, text: str) -> None:
        self.progress.console.print(one_line(text), style="yellow")


class Lines:
    """As `Bar`, for a log or a pipe: a line at the beginning and end of each piece of work, and one every `EVERY`
    seconds."""

    def __init__(self) -> None:
        self.label, self.total, self.done, self.written = "", 0, 0, 0
        self.begun = self.told = time.monotonic()

    def begin(self, label: str, total: int, done: int) -> None:
        if done >= total:
            return
        self.label, self.total, self.done, self.written = label, total, done, 0
        self.begun = self.told = time.monotonic()
        self.note(f"going on: {done} of {total} {label} are there" if done else f"{label}: 0 of {total}")

    def advance(self, label: str, count: int) -> None:
        self.done += count
        self.written += count
        now = time.monotonic()
        if now - self.told < EVERY and self.done < self.total:
            return
        self.told = now
        spent = max(now - self.begun, 1e-9)
        if self.done >= self.total:
            self.note(f"{self.label}: {self.done} of {self.total} after {_seconds(spent)}")
            return
        left = (self.total - self.done) * spent / max(self.written, 1)
        rate = f"{self.written / spent:.1f}/s, about {_seconds(left)} left"
        self.note(f"{self.label}: {self.done} of {self.total}, {rate} ({label})")

    def note(self, text: str) -> None:
        say(text, err=True)


def _seconds(count: float) -> str:
    if count < 100:
        return f"{count:.0f} s"
    return f"{count / 60:.0f} min" if count < 100 * 60 else f"{count / 3600:.1f} h"


@contextmanager
def progress_bar() -> Iterator[Bar | Lines]:
    """A `Bar` for the length of the block; `Lines` where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    progress = Progress(*columns, console=console(stderr=True))
    try:
        yield Bar(progress)
    finally:
        if progress.tasks:
            progress.stop()
