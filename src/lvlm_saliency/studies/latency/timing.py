"""Paired timing: two calls in turn on a machine that does other things as well, and the ratio of each pair."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import quantile_test

LEAST = 6
"""With fewer pairs the exact 95 % interval of a median has no ends: 2 / 2**6 < 0.05 < 2 / 2**5."""

Call = Callable[[int], Any]
"""Does the work once; told the number of the pair, so that both of a pair can share a seed."""


@dataclass(frozen=True)
class Paired:
    """Seconds of both calls, pair by pair, and what the second one returned each time."""

    baseline: list[float]
    own: list[float]
    results: list[Any] = field(repr=False)

    @property
    def ratios(self) -> np.ndarray:
        """float64 `[pairs]`: the second call's seconds over the first's."""
        return np.array(self.own) / np.array(self.baseline)

    @property
    def median(self) -> float:
        return float(np.median(self.ratios))

    @property
    def interval(self) -> tuple[float, float]:
        """The median ratio's exact 95 % interval, from order statistics; NaN with fewer than `LEAST` pairs."""
        if len(self.own) < LEAST:
            return float("nan"), float("nan")
        bounds = quantile_test(self.ratios, q=self.median, p=0.5).confidence_interval(0.95)
        return float(bounds.low), float(bounds.high)


def paired(
    baseline: Call, method: Call, pairs: int, *, device: Any, slow: float = float("inf"), few: int = 3
) -> Paired:
    """Time both in turn, after one unmeasured run of each; who goes first changes from pair to pair.

    Args:
        pairs: how many; only `few` (at most `pairs`) where the method alone takes more than `slow` seconds.
        device: torch device that has to be idle before and after each run.
    """
    baseline(0)
    spent, _ = seconds_of(method, 0, device)
    base, own, results = [], [], []
    for number in range(pairs if spent <= slow else min(few, pairs)):
        if number % 2:
            mine, result = seconds_of(method, number, device)
            base.append(seconds_of(baseline, number, device)[0])
        else:
            base.append(seconds_of(baseline, number, device)[0])
            mine, result = seconds_of(method, number, device)
        own.append(mine)
        results.append(result)
    return Paired(base, own, results)


def seconds_of(call: Call, number: int, device: Any) -> tuple[float, Any]:
    """Wall-clock seconds of one call, the device idle before and after, and what it returned."""
    _idle(device)
    begin = time.perf_counter()
    result = call(number)
    _idle(device)
    return time.perf_counter() - begin, result


def _idle(device: Any) -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
