"""The parts of a benchmark: which run, what is said before each, and what is kept after each.

A part takes from a few seconds to a minute or two. What it measured is written at once, so that a run that is stopped
loses one part at most and `--resume` goes on behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .timing import Row

ENOUGH = 20
"""Seconds of `Part.seconds` that must have been measured before they say how fast this machine is."""


@dataclass(frozen=True)
class Part:
    """Rows of the table that are measured together.

    Attributes:
        model: what is timed, as `--models` names it.
        name: as `--parts` names it.
        what: what is measured, in a few words.
        seconds: how long it took on two threads of a third-generation AMD EPYC.
        measure: measures its rows.
    """

    model: str
    name: str
    what: str
    seconds: float
    measure: Callable[[], list[Row]]

    @property
    def key(self) -> str:
        """`model/name`, under which its rows are kept."""
        return f"{self.model}/{self.name}"


def run(
    parts: Sequence[Part],
    known: Iterable[str],
    minutes: float,
    keep: Callable[[Part, list[Row]], None],
    say: Callable[[str], None],
    clock: Callable[[], float] = time.perf_counter,
) -> list[Part]:
    """Measure the parts one after the other, as far as the time allows.

    How long a part will take is foretold from its `seconds` and from how much longer than theirs the parts before it
    took on this machine. The first part always runs.

    Args:
        known: keys of parts that were measured before and are left out.
        minutes: no part begins that is expected to end later than this; 0 for no limit.
        keep: takes the rows of a part as soon as it has ended.
        say: takes the lines that tell what comes and what was found.
        clock: seconds.

    Returns:
        The parts for which there was no time.
    """
    begin, known, left = clock(), set(known), []
    expected = took = 0.0
    for part in parts:
        if part.key in known:
            say(f"{part.key}: kept from the run before")
            continue
        slower = took / expected if expected > ENOUGH else 1.0
        guess, spent = part.seconds * slower, clock() - begin
        if minutes and expected and spent + guess > 60 * minutes:
            left.append(part)
            continue
        say(f"[{spent:4.0f} s] {part.key}: {part.what}; about {guess:.0f} s")
        start = clock()
        rows = part.measure()
        keep(part, rows)
        took, expected = took + clock() - start, expected + part.seconds
        for row in rows:
            say(f"         {row.what} / {row.against}: {row.ratio:.3g} [{row.low:.3g}, {row.high:.3g}]")
    return left
