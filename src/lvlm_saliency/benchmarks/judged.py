"""Shared code of scorers that read a judge's replies: numbers in replies, figures as means of columns, and the form of
a result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable, Totals, ratio


def finite(value: Any, where: str) -> float:
    """`value` as a float.

    Raises:
        InputError: not a number, or not a finite one: one NaN would make every mean NaN.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{where}: {value!r} is not a finite number")
    return float(value)


def mean_of(column: str, per: str, factor: float = 1.0) -> Callable[[Totals], np.ndarray]:
    """The figure `factor * sum of column / sum of per`."""
    return lambda total: factor * ratio(total[column], total[per])


def result(
    benchmark: str, table: CountTable, unit: str, problems: Problems, bootstrap: Bootstrap | None, **found: Any
) -> dict[str, Any]:
    """A scorer's result: its name, what it found, the intervals of the table's figures, and what was left out."""
    bootstrap = bootstrap or Bootstrap()
    return {
        "benchmark": benchmark,
        **found,
        "intervals": bootstrap.intervals(table),
        "bootstrap": bootstrap.settings(unit),
        "skipped": dict(problems.skipped),
    }


def named(value: Any, name: str) -> str:
    """What messages call data that were given as a file or by themselves."""
    return str(value) if isinstance(value, str | Path) else name


def id_of(record: Mapping[str, Any], name: str, usual: Any, where: str) -> str | int:
    """The id that the record holds under `name`, or the usual one.

    Raises:
        InputError: neither text nor a whole number.
    """
    value = record.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{where}: {name!r} is neither text nor a whole number")
    return value


def text_of(record: Mapping[str, Any], name: str, where: str) -> str:
    """The text that the record holds under `name`.

    Raises:
        InputError: there is none.
    """
    value = record.get(name) if isinstance(record, Mapping) else None
    if not isinstance(value, str):
        raise InputError(f"{where}: needs {name!r}, a text")
    return value
