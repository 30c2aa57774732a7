"""Estimates as cells of tables, and as plain rows of data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies.page import Cell


def area(found: stats.Estimate) -> Cell:
    return Cell("–") if math.isnan(found.value) else Cell(f"{found.value:.3f}", between(found), tone(found, 0.5))


def estimate(found: stats.Estimate) -> Cell:
    return Cell("–") if math.isnan(found.value) else Cell(f"{found.value:.3f}", between(found))


def share(found: stats.Estimate) -> Cell:
    return Cell(f"{found.value:.1%}", f"{found.low:.1%} to {found.high:.1%}, n {found.n}")


def signed(found: stats.Estimate, digits: int = 2) -> Cell:
    return Cell("–") if math.isnan(found.value) else Cell(f"{found.value:+.{digits}f}", between(found, digits))


def between(found: stats.Estimate, digits: int = 3) -> str:
    return "" if math.isnan(found.low) else f"{found.low:.{digits}f} to {found.high:.{digits}f}"


def tone(found: stats.Estimate, null: float) -> str:
    return "" if not found.excludes(null) else "better" if found.low > null else "worse"


def p_value(p: float) -> str:
    return f"p = {p:.2g}" if p >= 1e-6 else "p < 0.000001"


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its estimates spread out, for JSON lines and CSV."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, stats.Estimate):
            parts = asdict(value)
            flat |= {name: parts["value"], f"{name}_low": parts["low"], f"{name}_high": parts["high"], "n": parts["n"]}
        else:
            flat[name] = value
    return flat
