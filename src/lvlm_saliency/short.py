"""One-line `repr`s for objects that hold tensors: kinds and sizes instead of values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lvlm_saliency.plain_text import one_line

SHOWN = 4


def shown(one: object, /, **facts: Any) -> str:
    """`Kind(name=value, ...)`; strings are written without quotes, and None is left out. What a file or a model wrote
    steers no terminal."""
    told = ", ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
    return one_line(f"{type(one).__name__}({told})")


def some(values: Iterable[Any]) -> str:
    """A list of which only the first `SHOWN` items are written out."""
    values = list(values)
    rest = f", ... {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return f"[{', '.join(map(str, values[:SHOWN]))}{rest}]"
