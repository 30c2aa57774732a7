"""The figures of the comparison: a forest plot, and AUROC against cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lvlm_saliency.studies.detect.published.compare import FIRST
from lvlm_saliency.studies.detect.published.judge import POOLED
from lvlm_saliency.studies.detect.published.rows import CLASSES
from lvlm_saliency.studies.detect.published.tables import ranked
from lvlm_saliency.studies.figures import BLUE, GREEN, GREY, MARKERS, ORANGE, PURPLE, panels

if TYPE_CHECKING:
    from lvlm_saliency.studies.detect.published.study import Results

COLOURS = (BLUE, GREEN, ORANGE, PURPLE)
DARK = "#4a5058"


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
    """AUROC within position against milliseconds a text, both on scales that part the best and the cheapest."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    figure, (axes,) = panels(width=8.4, height=6.2)
    shown = [row for row in results.main() if row.label in results.costs]
    at = {row.label: (results.costs[row.label].milliseconds, _in_position(results, row.label)) for row in shown}
    at = {label: (x, y) for label, (x, y) in at.items() if x > 0 and 0 < y < 1}
    for number, name in enumerate(CLASSES):
        some = [at[row.label] for row in shown if row.cost == name and row.label in at]
        x, y = [one[0] for one in some], [one[1] for one in some]
        axes.plot(x, y, color=COLOURS[number], marker=MARKERS[number], markersize=5, linestyle="", label=name)
    axes.axhline(0.5, color=GREY, linewidth=1, linestyle=":")
    if at:
        axes.set_xscale("log")
        axes.set_yscale("logit")
        axes.margins(x=0.12, y=0.06)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(FixedLocator([0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Milliseconds a text (on a CPU: of processor time), the pass over it included")
    axes.set_ylabel("AUROC within position")
    figure.legend(fontsize=8, frameon=False, loc="outside upper center", ncols=len(CLASSES))
    _name(figure, axes, dict(sorted(at.items(), key=lambda one: -one[1][1])))
    return figure


def _in_position(results: Results, label: str) -> float:
    return results.reached[label][POOLED, FIRST].in_position.value


PLACES = [(side * 6, down, "left" if side > 0 else "right") for down in (-3, 3, -9, 9, -15) for side in (1, -1)]
"""Where a name may stand beside its point, in points, and how it is aligned; the first that is free is taken."""


def _name(figure: Any, axes: Any, points: Mapping[str, tuple[float, float]]) -> None:
    """A name beside each point, the best first; a name that would lie over another, or over a point, is left out."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # settles the layout, so that sizes in pixels are known
    inside = axes.get_window_extent()
    spots = [axes.transData.transform(at) for at in points.values()]
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in spots]
    for label, at in points.items():
        for dx, dy, side in PLACES:
            text = axes.annotate(label, at, (dx, dy), textcoords="offset points", fontsize=7, color=DARK, ha=side)
            box = text.get_window_extent()
            if inside.contains(*box.min) and inside.contains(*box.max) and not box.count_overlaps(taken):
                taken.append(box)
                break
            text.remove()
