"""Shows a trace: as an offline HTML page, plots, coloured terminal text, or a notebook view.

`SaliencyTrace.to_html`, `.plot` and `._repr_html_` delegate to `write_trace`, `plot_trace` and `fragment`.
Pages that compare several texts are built from `Report`, `Case` and `Run` and written by `write_html`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Case": "content",
    "Mark": "content",
    "Report": "content",
    "Run": "content",
    "Table": "content",
    "run_of": "content",
    "write_html": "html",
    "write_trace": "html",
    "plot_trace": "plot",
    "fragment": "notebook",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
