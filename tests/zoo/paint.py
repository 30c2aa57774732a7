"""Paint on pictures and frames, and which tokens it may reach."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lvlm_saliency.model.layout import ImageTile

PAINT = (255, 0, 255)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 200, (height // 20 + 1, width // 20 + 1, 3), dtype=np.uint8)
    return Image.fromarray(blocks.repeat(20, 0).repeat(20, 1)[:height, :width])


# How far, in cells, paint may reach beyond a cell's edge: bicubic resizing smears by two of its six or more pixels,
# Idefics resizes twice with a wider filter, and OneVision resamples features between neighbouring cells.
# The convolutions behind Step's tower take three quarters of the cells to the left and above into a token.
REACH = {"idefics3": 0.8, "smolvlm": 0.8, "llava_onevision": 1.3, "step3p7": 0.8}
# How far the cell of the token that changes most may be from the paint.
STRONGEST = {"llava_onevision": 0.5, "step3p7": 0.8}
# Molmo resizes without a filter, so that small paint falls between the pixels that it looks at.
PAINTED = {"molmo2": 8}


def touched(tile: ImageTile, paint: tuple[int, int, int, int], reach: float) -> set[int]:
    """Positions of the tile whose cells, widened by `reach` of their size, meet the paint; narrowed if negative."""
    positions = set()
    for (row, col), position in np.ndenumerate(tile.positions):
        left, top, right, bottom = tile.cell(row, col)
        x, y = reach * (right - left), reach * (bottom - top)
        across = left - x < paint[2] and paint[0] < right + x
        if across and top - y < paint[3] and paint[1] < bottom + y:
            positions.add(int(position))
    return positions
