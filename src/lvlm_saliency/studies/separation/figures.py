"""The figures of `separation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvlm_saliency.studies import figures
from lvlm_saliency.studies.separation.bins import LEAST, Binned
from lvlm_saliency.studies.separation.words import SCORED
from lvlm_saliency.studies.tokens import MEASURES


def areas(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Every score's area, among all words and among words of equal position."""
    names = list(dict.fromkeys(row["score"] for row in rows))
    figure, (axes,) = figures.panels(height=0.36 * len(names) + 1.3)
    shown = (("nothing", figures.BLUE, "o", "all words", -0.13), ("same position", figures.ORANGE, "s", "", 0.13))
    for held, colour, marker, label, shift in shown:
        found = [next(r["auroc"] for r in rows if r["score"] == name and r["held_equal"] == held) for name in names]
        bars = [[max(f.value - f.low, 0) for f in found], [max(f.high - f.value, 0) for f in found]]
        at = [place + shift for place in range(len(names))]
        axes.errorbar(
            [f.value for f in found],
            at,
            xerr=bars,
            fmt=marker,
            color=colour,
            markersize=5,
            elinewidth=1.3,
            label=label or "words at the same position",
        )
    axes.axvline(0.5, color=figures.GREY, linewidth=1, linestyle="--")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("AUROC (hallucinated words score lower; for entropy: higher); dashed: chance")
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def rates(of_scores: Mapping[str, Mapping[str, Binned]], overall: float) -> Any:
    """Hallucination rate over bins of equal width and over deciles, a panel for each score."""
    figure, axes = figures.panels(len(of_scores), width=9, height=3.3, sharey=True)
    for panel, (name, kinds) in zip(axes, of_scores.items(), strict=True):
        (width, by_width), (_, by_decile) = list(kinds.items())[:2]
        drawn = ((by_width, figures.BLUE, "o", width), (by_decile, figures.ORANGE, "s", "equally many words"))
        for found, colour, marker, label in drawn:
            places = [one.number + 1 for one in found.bins]
            figures.with_bars(panel, places, [one.rate for one in found.bins], colour, marker, label=label, alpha=0.9)
            few = [(one.number + 1, one.rate.value) for one in found.bins if one.n < LEAST]
            panel.plot([x for x, _ in few], [y for _, y in few], "o", mfc="white", mec=colour, markersize=5, zorder=5)
        panel.axhline(overall, color=figures.GREY, linewidth=1, linestyle="--")
        panel.set_xlabel(f"bin of {name}, lowest first", fontsize=9)
        panel.set_ylim(-0.02, 1.02)
    axes[0].set_ylabel("share of words that are hallucinated", fontsize=9)
    axes[0].legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def layers(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Areas layer by layer: saliency and attention, at any position and at the same."""
    figure, axes = figures.panels(2, 2, width=9, height=5.6, sharex=True, sharey=True)
    colours = (figures.BLUE, figures.ORANGE, figures.GREEN, figures.PURPLE)
    cells = [(measure, held) for held in ("nothing", "same position") for measure in MEASURES]
    for panel, (measure, held) in zip(axes, cells, strict=True):
        for region, colour, marker in zip(SCORED, colours, figures.MARKERS, strict=False):
            found = [
                (int(row["layers"]), row["auroc"])
                for row in rows
                if (row["kind"], row["measure"], row["region"], row["held_equal"]) == ("layer", measure, region, held)
            ]
            x = [layer for layer, _ in found]
            panel.plot(x, [f.value for _, f in found], color=colour, marker=marker, markersize=4, label=region)
            panel.fill_between(x, [f.low for _, f in found], [f.high for _, f in found], color=colour, alpha=0.14, lw=0)
        panel.axhline(0.5, color=figures.GREY, linewidth=1, linestyle="--")
        panel.set_ylim(0, 1)
        where = "all words" if held == "nothing" else "words at the same position"
        panel.text(0.02, 0.03, f"{measure}, {where}", transform=panel.transAxes, fontsize=9)
        panel.set_xticks(x if len(x) <= 12 else x[:: len(x) // 8])
    for panel in axes[2:]:
        panel.set_xlabel("decoder layer", fontsize=9)
    for panel in axes[::2]:
        panel.set_ylabel("AUROC, lower = hallucinated", fontsize=9)
    axes[0].legend(frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    return figure
