"""The style of the studies' figures: one palette and plain axes, the same on every machine."""

from __future__ import annotations

from typing import Any

BLUE, ORANGE, GREEN, PURPLE, GREY, BLACK = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a7f87", "#1c1e21"
"""Okabe and Ito's colours, told apart under every common kind of colour blindness."""
MARKERS = ("o", "s", "^", "D", "v")


def panels(
    columns: int = 1, rows: int = 1, width: float = 8.0, height: float = 3.4, **settings: Any
) -> tuple[Any, list[Any]]:
    """A figure and its axes, row by row; `settings` as in `Figure.subplots`. Sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **settings)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(True, color="#e4e7eb", linewidth=0.7)
        one.set_axisbelow(True)
        one.tick_params(labelsize=9, length=3, colors="#4a5058")
    return figure, list(axes.flat)


def with_bars(axes: Any, x: Any, found: Any, colour: str, marker: str = "o", **settings: Any) -> None:
    """Estimates as points with their intervals, along x; `settings` as in `Axes.errorbar`."""
    middle = [one.value for one in found]
    below = [max(one.value - one.low, 0) for one in found]
    above = [max(one.high - one.value, 0) for one in found]
    shown = {"markersize": 5, "linewidth": 1.4, "elinewidth": 1.2, "capsize": 0, **settings}
    axes.errorbar(x, middle, yerr=[below, above], color=colour, marker=marker, **shown)
