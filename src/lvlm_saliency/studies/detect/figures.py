"""The figures of `detect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlm_saliency.studies.detect.names import AS_SAVED
from lvlm_saliency.studies.detect.tables import NAMES
from lvlm_saliency.studies.figures import BLUE, GREY, MARKERS, ORANGE, panels

if TYPE_CHECKING:
    from lvlm_saliency.stats.calibration import Calibration
    from lvlm_saliency.studies.detect.worth import Worth


def worth(worths: Sequence[Worth]) -> Any:
    """Forest plots: every group alone, and what it adds."""
    figure, (left, right) = panels(columns=2, width=9.6, height=0.9 + 0.33 * len(worths), sharey=True)
    rows = np.arange(len(worths))[::-1]
    _forest(left, rows, [one.alone_matched for one in worths], BLUE, "o", "")
    left.axvline(0.5, color=GREY, linewidth=1, linestyle=":")
    left.set_yticks(rows, [one.group for one in worths])
    left.set_xlabel("AUROC alone, position-matched")
    added = [(row, one.added) for row, one in zip(rows, worths, strict=True) if one.group != "log-probability"]
    _forest(
        right,
        np.array([row for row, _ in added]) + 0.14,
        [one for _, one in added],
        BLUE,
        "o",
        "beside log-probability",
    )
    _forest(right, rows - 0.14, [one.within for one in worths], ORANGE, "s", "beside the rest of the trace")
    right.axvline(0, color=GREY, linewidth=1, linestyle=":")
    right.set_xlabel("Gain in AUROC, position-matched")
    figure.legend(*right.get_legend_handles_labels(), fontsize=9, frameon=False, loc="outside upper right", ncols=2)
    return figure


def _forest(axes: Any, rows: np.ndarray, found: Sequence[Any], colour: str, marker: str, label: str) -> None:
    middle = np.array([one.value for one in found])
    spread = [middle - [one.low for one in found], np.array([one.high for one in found]) - middle]
    spread = np.maximum(np.nan_to_num(np.array(spread)), 0)
    axes.errorbar(middle, rows, xerr=spread, color=colour, marker=marker, markersize=5, linestyle="", label=label)


def reliability(calibrated: Mapping[tuple[str, str], Calibration]) -> Any:
    """Mean risk against the share of hallucinated words, for every way of decoding."""
    texts = [tested for kind, tested in calibrated if kind == AS_SAVED]
    figure, axes = panels(columns=len(texts), width=3.4 * len(texts) + 0.4, height=3.7, sharex=True, sharey=True)
    for one, tested in zip(axes, texts, strict=True):
        bins = calibrated[AS_SAVED, tested].bins
        x = np.array([100 * each.risk for each in bins])
        y, low, high = 100 * np.array([(each.rate.value, each.rate.low, each.rate.high) for each in bins]).T
        one.plot([0, 100], [0, 100], color=GREY, linestyle=":", linewidth=1)
        spread = np.maximum(np.nan_to_num([y - low, high - y]), 0)
        one.errorbar(x, y, yerr=spread, color=BLUE, marker=MARKERS[0], markersize=5, linewidth=1.2)
        for place, height, each in zip(x, y, bins, strict=True):
            one.annotate(
                f"{each.rate.n}", (place, height), (5, -10), textcoords="offset points", fontsize=8, color=GREY
            )
        one.set_xlabel(f"Mean risk, {NAMES.get(tested, tested)} texts (%)")
    axes[0].set_ylabel("Share hallucinated (%)")
    axes[0].set(xlim=(-4, 108), ylim=(-8, 104))
    return figure
