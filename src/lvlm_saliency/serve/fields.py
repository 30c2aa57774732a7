"""Checks of single fields of a request's JSON: each returns the value, or raises a `Fault` that names the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lvlm_saliency.serve.faults import Fault

MOST_STOPS, LONGEST_STOP = 4, 256


def known(body: Mapping[str, Any], names: set[str]) -> None:
    """Raise `Fault` if a body holds other fields than these."""
    if strange := sorted(set(body) - names):
        raise Fault(400, f"unknown field {strange[0][:60]!r}", strange[0][:60])


def number(body: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    """A number from `low` to `high`, None where the field is absent. Raises `Fault`."""
    value = body.get(name)
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise Fault(400, f"{name} must be a number from {low:g} to {high:g}", name)
    return float(value)


def whole(body: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    """A whole number from `low` to `high`, None where the field is absent. Raises `Fault`."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Fault(400, f"{name} must be a whole number from {low} to {high}", name)
    return value


def flag(body: Mapping[str, Any], name: str, param: str | None = None) -> bool:
    """True or false; false where the field is absent. Raises `Fault`, which names `param`."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise Fault(400, f"{name} must be true or false", param or name)
    return bool(value)


def text(value: Any, param: str) -> str:
    """Text that is not empty. Raises `Fault`, which names `param`."""
    if not isinstance(value, str) or not value.strip():
        raise Fault(400, f"{param} must be text that is not empty", param)
    return value


def stops(value: Any) -> tuple[str, ...]:
    """The stop strings, which end a text. Raises `Fault`."""
    stops = [] if value is None else [value] if isinstance(value, str) else value
    fine = isinstance(stops, list) and len(stops) <= MOST_STOPS
    if not fine or not all(isinstance(one, str) and 0 < len(one) <= LONGEST_STOP for one in stops):
        raise Fault(400, f"stop must be text, or a list of at most {MOST_STOPS}, none of them empty", "stop")
    return tuple(stops)
