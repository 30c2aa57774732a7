"""The figures of `behaviour`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies.figures import BLACK, BLUE, MARKERS, ORANGE, panels, with_bars

if TYPE_CHECKING:
    from lvlm_saliency.studies.behaviour.study import Found
    from lvlm_saliency.studies.texts import LabelledText

COLOURS = (BLUE, ORANGE)
LEAST = 30
"""A rate is shown only where at least so many first draws stand behind it."""
BINS = 12


def refusals(found: Found, resamples: int, seed: int) -> Any:
    """Share of first draws refused (filled) and of fallbacks (hollow), by position in the text and by part of speech,
    one colour per candidate set."""
    tags = by_tag(found)
    figure, axes = panels(2 if tags else 1, width=9.2, height=max(3.4, 0.9 + 0.36 * len(tags)))
    edges = _edges(found)
    for number, (name, draws) in enumerate(found.draws.items()):
        resampler, colour, marker = draws.resampler(resamples, seed), COLOURS[number], MARKERS[number]
        bins = np.searchsorted(edges, draws.position, side="right") - 1
        kept = [rows for at in range(len(edges) - 1) for rows in [bins == at] if rows.sum() >= LEAST]
        middle = [float(draws.position[rows].mean()) for rows in kept]
        for what, label, look in (
            (draws.refused, f"{name}: refused", {}),
            (draws.fallback, f"{name}: fallback", {"linestyle": "--", "markerfacecolor": "white"}),
        ):
            rates = [resampler.estimate(stats.mean(what, rows)) for rows in kept]
            if kept:
                with_bars(axes[0], middle, rates, colour, marker, label=label, **look)
            for place, tag in enumerate(tags):
                rows = draws.tag == tag
                if rows.sum() >= LEAST:
                    rate = resampler.estimate(stats.mean(what, rows))
                    bars = [[max(rate.value - rate.low, 0)], [max(rate.high - rate.value, 0)]]
                    shown = {"markersize": 5, "elinewidth": 1.2, "markerfacecolor": look.get("markerfacecolor", colour)}
                    at = place + (number - 0.5) * 0.36
                    axes[1].errorbar([rate.value], [at], xerr=bars, fmt=marker, color=colour, **shown)
    axes[0].set_ylim(0, 1)
    axes[0].set_xlabel("position in the text (tokens)")
    axes[0].set_ylabel("steps (share)")
    if axes[0].get_legend_handles_labels()[0]:
        axes[0].legend(frameon=False, fontsize=9)
    if tags:
        axes[1].set_yticks(range(len(tags)), tags)
        axes[1].invert_yaxis()
        axes[1].set_xlim(0, 1)
        axes[1].set_xlabel("steps whose first draw is such a word (share)")
    return figure


def by_tag(found: Found) -> list[str]:
    """The parts of speech that a rate can be drawn for, the most often refused first."""
    tags = np.concatenate([draws.tag for draws in found.draws.values()])
    refused = np.concatenate([draws.refused for draws in found.draws.values()])
    known = [tag for tag in dict.fromkeys(tags.tolist()) if tag and (tags == tag).sum() >= LEAST]
    return sorted(known, key=lambda tag: -refused[tags == tag].mean())


def thumbnails(texts: Sequence[LabelledText], lines: Sequence[str]) -> Any:
    """The pictures with a line or two below each, four in a row."""
    columns = min(4, len(texts))
    rows = -(-len(texts) // columns)
    figure, axes = panels(columns, rows, width=2.3 * columns, height=2.75 * rows)
    for one in axes:
        one.set_axis_off()
    for one, text, line in zip(axes, texts, lines, strict=False):
        one.imshow(np.asarray(text.picture().convert("RGB").resize((192, 192))))
        one.set_title(line, fontsize=8.5, color=BLACK, y=-0.06, va="top")
    return figure


def _edges(found: Found) -> np.ndarray:
    """Edges of position bins, in whole tokens, up to the end of the longest text."""
    last = max((int(draws.position.max()) for draws in found.draws.values() if len(draws)), default=0)
    step = max(1, -(-(last + 1) // BINS))
    return np.arange(0, last + step + 1, step)
