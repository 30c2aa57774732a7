"""A video in the terminal: when its frames were shown, and how the weight of the words divides over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.text import Text

from lvlm_saliency.model.video import stamp

from .colours import STRONG
from .terminal import can_show, colourless, style

if TYPE_CHECKING:
    from lvlm_saliency.model.layout import VideoLayout

WIDTH = 24
BLOCK = "\u2588"


def print_films(console: Console, films: Sequence[VideoLayout], row: np.ndarray) -> None:
    """Print for each video its frames, one line to those that share their tokens: when they were shown, and what share
    of the weight on the video lies there.

    Args:
        row: `[N - 1]`, what the words depend on, over the positions of the sequence (their mean).
    """
    block = BLOCK if can_show(console, BLOCK) else "#"
    for number, film in enumerate(films, 1):
        name = "video" if len(films) == 1 else f"video {number}"
        shares = film.shares(row)
        shown = [", ".join(stamp(time) for time in step.times) for step in film.steps]
        width = max(map(len, shown))
        console.print(Text(f"{name}: what of the words' saliency on it lies on each frame", style="dim"))
        for times, share in zip(shown, shares, strict=True):
            line = Text(f"  {times:>{width}}  ")
            bar = block * round(WIDTH * share / max(shares.max(), 1e-30))
            line.append(f"{bar:<{WIDTH}}", style="" if colourless(console) else style(STRONG))
            console.print(line.append(f" {share:4.0%}"))
