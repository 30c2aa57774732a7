"""Asks a model about pictures and explains the answer: `Query` -> `Answer` -> `Explanation`, in batches, by one `Chat`.

The command line, the demonstration, the evaluation and the studies use it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Answer": "answer",
    "Batch": "answer",
    "Chat": "model",
    "Explanation": "explanation",
    "Message": "query",
    "Query": "query",
    "WordRisk": "explanation",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
