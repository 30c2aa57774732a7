"""One word's row over the frames of videos, beside its strongest earlier words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lvlm_saliency.model.video import stamp

from .content import Run
from .plot import draw_bars, draw_heat, label_of, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from lvlm_saliency.model.video import Video

COLUMNS = 4


def draw_token_on_film(
    run: Run, row: np.ndarray, token: int, images: Sequence[Image], videos: Sequence[Video], measure: str
) -> Figure:
    """A panel for each picture and each step of a video (its first frame), on one scale a video, and the words.

    Args:
        row: `[N - 1]`, what the token depends on.
    """
    panels = []
    for image, layout in zip(images, run.layouts, strict=False):
        heat = layout.heatmap(row)
        panels.append((image, heat, float(heat.max()), "picture"))
    for video, film in zip(videos, run.films, strict=True):
        heats = [film.heatmap(row, step.frames[0]) for step in film.steps]
        largest = max(float(heat.max()) for heat in heats)
        for step, heat, share in zip(film.steps, heats, film.shares(row), strict=True):
            title = f"{', '.join(map(stamp, step.times))}: {share:.0%}"
            panels.append((video.frames[step.frames[0]], heat, largest, title))
    columns = min(len(panels), COLUMNS)
    rows = math.ceil(len(panels) / columns)
    figure, sheet = new_figure(
        2.6 * columns + 4.6, max(4.2, 2.2 * rows), 1, columns=2, width_ratios=[2.6 * columns, 4.6]
    )
    places = sheet[0].get_subplotspec().subgridspec(rows, columns)
    sheet[0].remove()
    for number, (image, heat, largest, title) in enumerate(panels):
        panel = figure.add_subplot(places[divmod(number, columns)])
        draw_heat(panel, image, heat, largest)
        panel.set_title(title, loc="left", fontsize=9)
    draw_bars(sheet[1], run, row, token, measure)
    word = label_of(run.tokens[token]) or "end of text"
    figure.suptitle(f"What \u201c{word}\u201d (token {token}) depends on", x=0.02, ha="left", fontsize=12)
    return figure
