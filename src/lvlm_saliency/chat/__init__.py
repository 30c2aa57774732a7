"""From pictures and a question to a text, and from the text to what each of its words depends on.

`Query` -> `Answer` -> `Explanation`, in batches, by one `Chat`. The command line, the demonstration, the evaluation
and the studies stand on it.
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
