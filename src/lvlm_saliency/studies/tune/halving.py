"""Successive halving: many settings on few pictures, the better ones on more, until few are left.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016
(arXiv 1502.07943). Each rung brings fresh pictures and keeps what is known from the ones before, so that no picture is
described twice under one setting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from lvlm_saliency.errors import SettingError

LEAST = 4
"""Pictures of the first rung that a plan must be able to pay for."""


@dataclass(frozen=True)
class Rung:
    """`settings` candidates on the dev pictures `first` to `first + pictures - 1`, of which `kept` go on."""

    number: int
    settings: int
    kept: int
    first: int
    pictures: int

    @property
    def seen(self) -> int:
        """Pictures on which each candidate has been judged after this rung."""
        return self.first + self.pictures


def plan(settings: int, keep: int, budget: int, baselines: int = 2) -> list[Rung]:
    """The rungs that a budget of captions pays for: after each, one in `keep` goes on and has seen `keep` times as
    many pictures; the last rung has two settings or fewer. `baselines` are described as well, on every picture.

    Raises:
        SettingError: numbers out of range, or a budget too small for four pictures in the first rung.
    """
    for name, value, low in (("settings", settings, 1), ("keep", keep, 2), ("budget", budget, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise SettingError(f"tune: {name} must be a whole number of at least {low}, got {value!r}")
    counts = [settings]
    while counts[-1] > 2:
        counts.append(ceil(counts[-1] / keep))
    factors = [1, *(keep**r - keep ** (r - 1) for r in range(1, len(counts)))]  # fresh pictures, in units of the first
    cost = sum((count + baselines) * factor for count, factor in zip(counts, factors, strict=True))
    unit = budget // cost
    if unit < LEAST:
        raise SettingError(
            f"tune: budget={budget} is too small: {settings} settings on {LEAST} pictures, and the best of them on "
            f"more, take {LEAST * cost} captions; give that many, or fewer settings"
        )
    rungs, first = [], 0
    for number, (count, factor) in enumerate(zip(counts, factors, strict=True)):
        kept = counts[number + 1] if number + 1 < len(counts) else 1
        rungs.append(Rung(number, count, kept, first, unit * factor))
        first += unit * factor
    return rungs


def captions(rungs: Sequence[Rung], baselines: int = 2) -> int:
    """How many captions the rungs take."""
    return sum((rung.settings + baselines) * rung.pictures for rung in rungs)


def halve(candidates: Sequence[Any], rungs: Sequence[Rung], judge: Callable[[Rung, list[Any]], list[Any]]) -> list[Any]:
    """The candidates of the last rung, best first.

    `judge(rung, alive)` measures them on the rung's pictures and gives a sortable key for each, the smaller the better;
    equal keys keep the order of `candidates`.
    """
    alive = list(candidates)
    for rung in rungs:
        keys = judge(rung, alive)
        order = sorted(range(len(alive)), key=lambda i: keys[i])
        alive = [alive[i] for i in order]
        if rung is not rungs[-1]:
            alive = alive[: rung.kept]
    return alive
