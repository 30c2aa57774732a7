"""Figures of benchmarks by name, whatever benchmark they are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvlm_saliency.benchmarks.registry import figures, scores_of
from lvlm_saliency.pages.figures import Figure

FIGURES = figures()


def shown(scorer: str, present: Mapping[str, Any]) -> list[Figure]:
    """The figures that tables show of those that are present, in the order of the scorer's own."""
    return [figure for figure in scores_of(scorer).figures if figure.name in present]
