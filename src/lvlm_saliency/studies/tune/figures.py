"""The two figures of `tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure as Drawing

from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.pages.figures import MINUS
from lvlm_saliency.studies.tune.objective import measured

if TYPE_CHECKING:
    from lvlm_saliency.studies.tune.search import Search
    from lvlm_saliency.studies.tune.study import Effect

TICKS = (-50, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20, 50)
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#9a9a9a"  # Okabe and Ito's, told apart by everybody


def draw_effect(found: Search, effect: Effect) -> Drawing:
    """Differences to greedy decoding where the setting was chosen and where it was not."""
    figure = FIGURES[found.objective.figure]
    best, usual = found.best.label, effect.usual.label
    rows = [("best tried, chosen on", effect.dev, GREY), ("best tried, held-out", effect.held[best], ORANGE)]
    rows += [("to start from, held-out", effect.held[usual], BLUE)] if usual != best else []
    drawing = Drawing(figsize=(7.2, 0.9 + 0.42 * len(rows)), layout="constrained")
    axes = drawing.add_subplot()
    for place, (_, differences, colour) in enumerate(rows):
        one = differences[figure.name]
        value, low, high = (figure.scale * x for x in (one["difference"], *one["interval"]))
        axes.plot([low, high], [place, place], color=colour, lw=2.5, solid_capstyle="butt")
        axes.plot([value], [place], "o", color=colour, ms=7)
    axes.axvline(0, color="black", lw=0.8)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    better = "left" if found.objective.sign > 0 else "right"
    axes.set_xlabel(f"difference in {figure.shown} to greedy decoding (points; better to the {better})")
    _open(axes)
    return drawing


def draw_search(found: Search) -> Drawing:
    """Every setting against greedy decoding, rung by rung."""
    goal = found.objective
    figure = FIGURES[goal.figure]
    drawing = Drawing(figsize=(7.2, 4.2), layout="constrained")
    axes = drawing.add_subplot()
    axes.set_yscale("symlog", linthresh=2)  # a broken setting may be tens of points off, the good ones differ by one
    seen = [rung.seen for rung in found.rungs]
    greedy = {rung: _greedy_after(found, rung.number) for rung in found.rungs}
    for one in reversed(found.candidates):
        steps = [step for step in found.trail if step.label == one.label]
        xs = [step.rung.seen for step in steps]
        ys = [figure.scale * (step.figures[figure.name] - greedy[step.rung]) for step in steps]
        colour = ORANGE if one is found.best else BLUE if len(steps) == len(found.rungs) else GREY
        axes.plot(
            xs,
            ys,
            "-",
            color=colour,
            lw=2 if colour == ORANGE else 1,
            alpha=1 if colour != GREY else 0.7,
            zorder=2 + (colour != GREY),
        )
        for x, y, step in zip(xs, ys, steps, strict=True):
            going = ORANGE if one is found.best else BLUE if step.kept else GREY
            axes.plot([x], [y], "x" if step.oversteps else "o", color=going, ms=6, zorder=4)
    axes.axhline(0, color="black", lw=0.8)
    axes.annotate("greedy", (seen[-1], 0), (4, 3), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.set_xticks(seen, [str(count) for count in seen])
    axes.minorticks_off()
    low, high = axes.get_ylim()
    axes.set_yticks(
        [tick for tick in TICKS if low <= tick <= high],
        [f"{t:g}".replace("-", MINUS) for t in TICKS if low <= t <= high],
    )
    axes.minorticks_off()
    axes.set_xlabel("dev pictures that a setting was judged on")
    axes.set_ylabel(f"{figure.shown} minus greedy's (points)")
    _open(axes)
    return drawing


def _greedy_after(found: Search, number_of: int) -> float:
    return measured(found.results[GREEDY][: number_of + 1]).figures[found.objective.figure]


def _open(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
