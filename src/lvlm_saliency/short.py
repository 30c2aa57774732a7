"""One-line `repr`s for objects that hold tensors: what they are and how large, not what is in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SHOWN = 4


def shown(one: object, /, **facts: Any) -> str:
    """`Kind(name=value, ...)`; values that are strings stand as they are, None is left out."""
    told = ", ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
    return f"{type(one).__name__}({told})"


def some(values: Iterable[Any]) -> str:
    """A list of which the first `SHOWN` are written out."""
    values = list(values)
    rest = f", ... {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return f"[{', '.join(map(str, values[:SHOWN]))}{rest}]"
