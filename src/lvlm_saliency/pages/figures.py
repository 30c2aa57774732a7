"""Figures as text: names, units, which direction is better, and the verdict on a difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvlm_saliency.stats.bootstrap import MIN_IMAGES

MINUS = "−"


@dataclass(frozen=True)
class Figure:
    """A figure of a scorer. better: "lower", "higher" or "" where neither is. Fractions are shown as percentages."""

    name: str
    better: str = "higher"
    scale: float = 100.0
    title: str = ""

    @property
    def shown(self) -> str:
        return self.title or self.name


def number(figure: Figure, value: float | None, sign: bool = False) -> str:
    """The value in the figure's unit, one decimal; a dash where it is undefined. ValueError for what is no number."""
    if value is None or math.isnan(value):
        return "–"
    if isinstance(value, bool) or not abs(value * figure.scale) < 2**63:
        raise ValueError(f"{figure.name} is {value}")
    text = f"{abs(value) * figure.scale:.1f}"
    if sign:
        return text if float(text) == 0 else (MINUS if value < 0 else "+") + text
    return (MINUS if value < 0 else "") + text


def interval(figure: Figure, bounds: Sequence[float | None], sign: bool = False) -> str:
    """`[low, high]`; empty where there is none."""
    if any(bound is None or math.isnan(bound) for bound in bounds):
        return ""
    return f"[{number(figure, bounds[0], sign)}, {number(figure, bounds[1], sign)}]"


def too_few(difference: Mapping[str, Any] | None) -> bool:
    """Whether a difference is over too few pictures to be judged."""
    pictures = (difference or {}).get("pictures")
    return pictures is not None and pictures < MIN_IMAGES


def unjudged(difference: Mapping[str, Any] | None) -> str:
    """Why no difference is shown, where the reason is not in the difference itself; else ""."""
    if too_few(difference):
        return f"not judged: fewer than {MIN_IMAGES} pictures"
    bounds = (difference or {}).get("interval") or (None, None)
    return "not tested: no interval" if any(bound is None or math.isnan(bound) for bound in bounds) else ""


def verdict(figure: Figure, difference: Mapping[str, Any] | None) -> str:
    """ "better", "worse" or "changed" where the interval leaves 0 out, else ""; of fewer pictures than `MIN_IMAGES`
    always ""."""
    if too_few(difference):
        return ""
    low, high = (difference or {}).get("interval") or (None, None)
    if low is None or high is None or math.isnan(low) or math.isnan(high) or low <= 0 <= high:
        return ""
    if not figure.better:
        return "changed"
    return "better" if (high < 0) == (figure.better == "lower") else "worse"


def reading(figure: Figure, plain: Mapping[str, Any], matched: Mapping[str, Any], shorter: bool) -> str:
    """The verdict on a difference to greedy decoding, given the difference at equal length."""
    first, second = verdict(figure, plain), verdict(figure, matched)
    if first == "better" and second == "better":
        return "better, also at the same length"
    if first == "better" and second == "worse":
        return "only shorter: worse at the same length"
    if first == "better":
        return "only shorter" if shorter else "better, but not shown at the same length"
    if first == "worse":
        return "worse"
    if second == "worse":
        return "worse at the same length"
    return unjudged(plain) or "no difference shown"
