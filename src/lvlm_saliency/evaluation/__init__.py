"""Whole benchmarks: the effect of methods on a model, with baselines, intervals and controls.

`evaluate(Settings(...))` is the command `lvlm-saliency evaluate` from Python; `report([folders])` compares runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lvlm_saliency.evaluation.summary.build import Report

_HOMES = {"Settings": "settings", "evaluate": "runner"}

__all__ = ["Settings", "evaluate", "report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def report(folders: Sequence[str | Path]) -> Report:
    """One run, or several beside each other. See `summary.build.report`."""
    from lvlm_saliency.evaluation.summary import build

    return build.report(folders)
