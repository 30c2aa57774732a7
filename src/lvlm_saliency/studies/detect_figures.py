"""The figures of `detect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlm_saliency.studies.figures import BLUE, GREY, MARKERS, ORANGE, panels

if TYPE_CHECKING:
    from lvlm_saliency.studies.risk.calibration import Calibration
    from lvlm_saliency.studies.risk.worth import Worth

EDGE = 1e-3
"""Risks and shares nearer to 0 or 1 than this are drawn at it."""


def worth(worths: Sequence[Worth]) -> Any:
    """Forest plots: every group alone, and what it adds."""
    figure, (left, right) = panels(columns=2, width=9.6, height=0.9 + 0.33 * len(worths), sharey=True)
    rows = np.arange(len(worths))[::-1]
    _forest(left, rows, [one.alone_matched for one in worths], BLUE, "o", "")
    left.axvline(0.5, color=GREY, linewidth=1, linestyle=":")
    left.set_yticks(rows, [one.group for one in worths])
    left.set_xlabel("AUROC alone, position-matched")
    added = [(row, one.added) for row, one in zip(rows, worths, strict=True) if one.group != "log-probability"]
    _forest(right, np.array([row for row, _ in added]) + 0.14, [one for _, one in added], BLUE, "o", "added to log p")
    _forest(right, rows - 0.14, [one.within for one in worths], ORANGE, "s", "within all signals")
    right.axvline(0, color=GREY, linewidth=1, linestyle=":")
    right.set_xlabel("Gain in AUROC, position-matched")
    right.legend(fontsize=8.5, frameon=False, loc="lower right")
    return figure


def _forest(axes: Any, rows: np.ndarray, found: Sequence[Any], colour: str, marker: str, label: str) -> None:
    middle = np.array([one.value for one in found])
    spread = [middle - [one.low for one in found], np.array([one.high for one in found]) - middle]
    spread = np.maximum(np.nan_to_num(np.array(spread)), 0)
    axes.errorbar(middle, rows, xerr=spread, color=colour, marker=marker, markersize=5, linestyle="", label=label)


def reliability(calibrated: Mapping[tuple[str, str], Calibration]) -> Any:
    """Mean risk against the share of hallucinated words, for every way of decoding."""
    texts = [tested for kind, tested in calibrated if kind == "Platt"]
    figure, axes = panels(columns=len(texts), width=3.4 * len(texts) + 0.6, height=3.6, sharex=True, sharey=True)
    ticks = [EDGE, 0.01, 0.1, 0.5, 0.9, 0.99, 1 - EDGE]
    for one, tested in zip(axes, texts, strict=True):
        found = calibrated["Platt", tested]
        shown = [(_place(b.risk), _place(b.rate.value), _place(b.rate.low), _place(b.rate.high)) for b in found.bins]
        x, y, low, high = np.array(shown).T
        one.plot(_odds(np.array([EDGE, 1 - EDGE])), _odds(np.array([EDGE, 1 - EDGE])), color=GREY, linestyle=":")
        spread = np.maximum(np.nan_to_num([y - low, high - y]), 0)
        one.errorbar(x, y, yerr=spread, color=BLUE, marker=MARKERS[0], markersize=5, linewidth=1.2)
        one.set_xticks(_odds(np.array(ticks)), [f"{100 * tick:g}" for tick in ticks])
        one.set_yticks(_odds(np.array(ticks)), [f"{100 * tick:g}" for tick in ticks])
        one.set_xlabel(f"Mean risk, {tested} texts (%)")
    axes[0].set_ylabel("Share hallucinated (%)")
    return figure


def _place(share: float) -> float:
    return float(_odds(np.clip(share, EDGE, 1 - EDGE)))


def _odds(share: Any) -> Any:
    return np.log(share / (1 - share))
