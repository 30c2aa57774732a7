"""How the page of `behaviour` writes estimates: shares in percent, differences in points."""

from __future__ import annotations

import math

from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.page import CANNOT_TELL


def verdict_of(one: Estimate, above: str, below: str, at: float) -> str:
    """`above` or `below` where the whole interval lies there, else CANNOT_TELL."""
    return above if one.low > at else below if one.high < at else CANNOT_TELL


def half(one: Estimate) -> float:
    return (one.high - one.low) / 2


def points(value: float, scale: float = 100) -> str:
    return "–" if math.isnan(value) else f"{scale * abs(value):.1f}"


def percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def bounds(one: Estimate) -> str:
    return "" if math.isnan(one.low) else f"[{100 * one.low:.1f}, {100 * one.high:.1f}]"


def share(one: Estimate) -> str:
    return f"{percent(one.value)} {bounds(one)}".strip()


def signed(one: Estimate, scale: float = 100) -> str:
    """The difference with its sign and interval; no sign on what rounds to nothing."""
    rounded = [round(scale * value, 1) if math.isfinite(value) else value for value in (one.value, one.low, one.high)]
    shown = [f"{value:+.1f}".replace("-", "−") if value else "0.0" for value in rounded]
    return "–" if math.isnan(one.value) else shown[0] if math.isnan(one.low) else f"{shown[0]} [{shown[1]}, {shown[2]}]"
