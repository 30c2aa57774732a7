"""The figures of the comparison: a forest plot, and AUROC against cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlm_saliency.studies.detect.published.compare import FIRST
from lvlm_saliency.studies.detect.published.judge import POOLED
from lvlm_saliency.studies.detect.published.rows import CLASSES
from lvlm_saliency.studies.detect.published.tables import ranked
from lvlm_saliency.studies.figures import BLUE, GREEN, GREY, MARKERS, ORANGE, PURPLE, panels

if TYPE_CHECKING:
    from lvlm_saliency.studies.detect.published.study import Results

COLOURS = (BLUE, GREEN, ORANGE, PURPLE)


def forest(results: Results) -> Any:
    """AUROC over all pairs and within position, every detector and control, with intervals."""
    labels = ranked(results)[::-1]
    rows = {row.label: row for row in results.main()}
    figure, (axes,) = panels(width=8.4, height=0.8 + 0.27 * len(labels))
    for height, label in enumerate(labels):
        one = results.reached[label][POOLED, FIRST]
        colour = GREY if label not in rows else COLOURS[CLASSES.index(rows[label].cost)]
        _bar(axes, height + 0.14, one.auroc.estimate(), colour, "o")
        _bar(axes, height - 0.14, one.in_position.estimate(), colour, "s", fillstyle="none")
    axes.axvline(0.5, color=GREY, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(labels)), [label if label in rows else f"{label} (control)" for label in labels])
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlabel("AUROC, first mentions")
    handles = [axes.plot([], [], color=colour, marker="o", linestyle="", label=name)[0]
               for name, colour in zip(CLASSES, COLOURS, strict=True)]  # fmt: skip
    handles += [
        axes.plot([], [], color=GREY, marker="o", linestyle="", label="over all pairs")[0],
        axes.plot([], [], color=GREY, marker="s", fillstyle="none", linestyle="", label="within position")[0],
    ]
    figure.legend(handles=handles, fontsize=8, frameon=False, loc="outside upper center", ncols=3)
    return figure


def _bar(axes: Any, height: float, found: Any, colour: str, marker: str, **settings: Any) -> None:
    if math.isnan(found.value):
        return
    known = not math.isnan(found.low)
    spread = [[max(found.value - found.low, 0)], [max(found.high - found.value, 0)]] if known else None
    axes.errorbar([found.value], [height], xerr=spread, color=colour, marker=marker, markersize=4.5, **settings)


def against_cost(results: Results) -> Any:
    """AUROC within position against milliseconds a text."""
    figure, (axes,) = panels(width=8.4, height=4.6)
    shown = [row for row in results.main() if row.label in results.costs]
    for number, name in enumerate(CLASSES):
        some = [row for row in shown if row.cost == name]
        x = [results.costs[row.label].milliseconds for row in some]
        y = [results.reached[row.label][POOLED, FIRST].in_position.value for row in some]
        axes.plot(x, y, color=COLOURS[number], marker=MARKERS[number], markersize=5, linestyle="", label=name)
    best = sorted(
        shown, key=lambda row: -np.nan_to_num(results.reached[row.label][POOLED, FIRST].in_position.value, nan=-1)
    )
    for row in best[:12]:
        at = results.costs[row.label].milliseconds, results.reached[row.label][POOLED, FIRST].in_position.value
        axes.annotate(row.label, at, (4, 3), textcoords="offset points", fontsize=7, color=GREY)
    axes.axhline(0.5, color=GREY, linewidth=1, linestyle=":")
    if any(results.costs.values()):
        axes.set_xscale("log")
    axes.set_xlabel("Milliseconds a text (on a CPU: of processor time), the pass over it included")
    axes.set_ylabel("AUROC within position")
    axes.legend(fontsize=8, frameon=False)
    return figure
