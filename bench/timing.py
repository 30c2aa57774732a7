"""Paired timing: two callables, alternated, and the ratio of each pair."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch


@dataclass
class Row:
    """One line of the table. ratio: median of the paired ratios (method / baseline); low, high: their extremes."""

    what: str
    against: str
    goal: str
    ratio: float
    low: float
    high: float
    pairs: int
    seconds: float
    """Median seconds of the method itself."""
    met: bool | None
    notes: dict = field(default_factory=dict)

    def as_dict(self) -> dict:
        return asdict(self)


def seconds_of(call: Callable[[], object]) -> float:
    """Wall-clock seconds of one call, the device idle before and after."""
    _idle()
    begin = time.perf_counter()
    call()
    _idle()
    return time.perf_counter() - begin


def _idle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def paired(baseline: Callable[[], object], method: Callable[[], object], pairs: int, warm: int = 1):
    """Time both in turn, changing who goes first; returns (ratios, method's seconds), one each per pair."""
    for _ in range(warm):
        baseline()
        method()
    ratios, own = [], []
    for number in range(pairs):
        if number % 2:
            mine, base = seconds_of(method), seconds_of(baseline)
        else:
            base, mine = seconds_of(baseline), seconds_of(method)
        ratios.append(mine / base)
        own.append(mine)
    return ratios, own


def row(what: str, against: str, goal: str, ratios, own, limit: float | None = None, **notes) -> Row:
    """A table row; `limit` is the largest ratio that meets the goal (None: nothing to meet)."""
    ratio = statistics.median(ratios)
    met = None if limit is None else ratio <= limit
    return Row(what, against, goal, ratio, min(ratios), max(ratios), len(ratios), statistics.median(own), met, notes)
