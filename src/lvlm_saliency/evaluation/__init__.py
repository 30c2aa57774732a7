"""Whole benchmarks: what a method does to a model, with baselines, error bars and controls beside it.

`evaluate(Settings(...))` is the command `lvlm-saliency evaluate` from Python; `report([folders])` compares runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {"Settings": "settings", "evaluate": "runner", "report": "report.build"}

__all__ = ["Settings", "evaluate", "report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
