"""Paired timing: two callables, alternated, and the ratio of each pair."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch

ROW_SECONDS = 15
"""After so long, warming up included, no further pair of a row begins."""


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
    part: str = ""
    """The part of the run that measured it (`plan.Part.key`)."""

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


def paired(baseline: Callable[[], object], method: Callable[[], object], pairs: int):
    """Time both in turn, changing who goes first; returns (ratios, method's seconds), one each per pair.

    A slow machine gets fewer pairs than asked for, two at least: see `ROW_SECONDS`."""
    begin = time.perf_counter()
    baseline()
    method()
    ratios, own = [], []
    for number in range(pairs):
        if number >= 2 and time.perf_counter() - begin > ROW_SECONDS:
            break
        if number % 2:
            mine, base = seconds_of(method), seconds_of(baseline)
        else:
            base, mine = seconds_of(baseline), seconds_of(method)
        ratios.append(mine / base)
        own.append(mine)
    return ratios, own


def row(what: str, against: str, goal: str, ratios, own, limit: float | None = None, **notes) -> Row:
    """A table row; `limit` is the largest ratio that meets the goal (None: nothing to meet).

    The note `fastest` is the fastest run over the fastest of the baseline: others on the machine only ever add time."""
    ratio = statistics.median(ratios)
    met = None if limit is None else ratio <= limit
    if len(own) > 1:
        notes["fastest"] = min(own) / min(mine / r for mine, r in zip(own, ratios, strict=True))
    return Row(what, against, goal, ratio, min(ratios), max(ratios), len(ratios), statistics.median(own), met, notes)
