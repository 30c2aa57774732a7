"""A report as one HTML page: no script, no network, light and dark."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from lvlm_saliency.evaluation.summary.content import Summary

_PACKAGE = "lvlm_saliency.evaluation"


@cache
def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def html(report: Summary) -> str:
    """The page as text."""
    template = _environment().from_string(_read("summary.html.j2"))
    return template.render(report=report, style=_read("summary.css"))


def _read(name: str) -> str:
    return (files(_PACKAGE) / "templates" / name).read_text(encoding="utf-8")
