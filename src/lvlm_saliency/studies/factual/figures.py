"""The figures of `factual`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies import figures
from lvlm_saliency.studies.factual.asking import REGIONS
from lvlm_saliency.studies.tokens import MEASURES

LABEL = "AUROC (wrong answers score lower; for entropy: higher); dashed: chance"


def areas(names: Sequence[str], series: Mapping[str, Sequence[Estimate]]) -> Any:
    """A row per name, a point with its interval per series; an area that is not known is left out."""
    figure, (axes,) = figures.panels(height=0.36 * len(names) + 1.3)
    colours = (figures.BLUE, figures.ORANGE, figures.GREEN)
    for number, (label, found) in enumerate(series.items()):
        shift = 0.13 * (2 * number - len(series) + 1)
        known = [(row + shift, one) for row, one in enumerate(found) if one.value == one.value]
        bars = [
            [max(one.value - one.low, 0) for _, one in known],
            [max(one.high - one.value, 0) for _, one in known],
        ]
        axes.errorbar(
            [one.value for _, one in known],
            [row for row, _ in known],
            xerr=bars,
            fmt=figures.MARKERS[number],
            color=colours[number],
            markersize=5,
            elinewidth=1.3,
            label=label,
        )
    axes.axvline(0.5, color=figures.GREY, linewidth=1, linestyle="--")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel(LABEL)
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def layers(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Areas layer by layer, a panel for saliency and one for attention."""
    figure, axes = figures.panels(len(MEASURES), width=9, height=3.4, sharey=True)
    colours = (figures.BLUE, figures.ORANGE, figures.GREEN)
    for panel, measure in zip(axes, MEASURES, strict=True):
        for region, colour, marker in zip(REGIONS, colours, figures.MARKERS, strict=False):
            found = [
                (row["layer"], row["auroc"]) for row in rows if (row["measure"], row["region"]) == (measure, region)
            ]
            x = [layer for layer, _ in found]
            panel.plot(x, [one.value for _, one in found], color=colour, marker=marker, markersize=3.5, label=region)
            panel.fill_between(
                x, [one.low for _, one in found], [one.high for _, one in found], color=colour, alpha=0.14, lw=0
            )
        panel.axhline(0.5, color=figures.GREY, linewidth=1, linestyle="--")
        panel.set_ylim(0, 1)
        panel.set_xlabel("decoder layer", fontsize=9)
        panel.set_title(measure, fontsize=10)
    axes[0].set_ylabel("AUROC, lower = wrong", fontsize=9)
    axes[0].legend(frameon=False, fontsize=8, loc="lower left")
    return figure
