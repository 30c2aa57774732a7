"""Texts that any system wrote, read by a model: a row for every word, with risk, detectors and saliency.

`Item` in, `Annotated` out (`annotator.py`); a folder that one writer fills, and that goes on after a kill (`run.py`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Annotated": "annotator",
    "AnnotateSettings": "settings",
    "Annotator": "annotator",
    "Item": "items",
    "annotate": "run",
    "read_items": "items",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
