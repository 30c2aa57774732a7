"""Slices beside a picture in its own shape: LFM2-VL and MiniCPM-V."""

from __future__ import annotations

import math
import re

from lvlm_saliency.model.layout.facts import Cursor, Facts
from lvlm_saliency.model.layout.tiles import Kind, whole

_MARKER = re.compile(r"<\|img_row_(\d+)_col_(\d+)\|>")


def tiles_then_shape(facts: Facts, cursor: Cursor) -> None:
    """LFM2-VL: square tiles with markers, then the whole picture in a shape of its own; small ones the latter alone."""
    settings = facts.processor.image_processor
    start = int(cursor.positions[cursor.used]) if len(cursor.positions) else 0
    marks = facts.tokens_until(max(start - 1, 0), facts.processor.image_end_token)
    places = [tuple(map(int, found.groups())) for mark in marks if (found := _MARKER.fullmatch(mark))]
    rows, columns = places[-1] if places else (1, 1)
    patch, factor = settings.encoder_patch_size, settings.downsample_factor
    if places:
        side = math.ceil(settings.tile_size // patch / factor)
        width, height = facts.width / columns, facts.height / rows
        for row, column in places:
            x, y = (column - 1) * width, (row - 1) * height
            cursor.grid(side, side, (x, y, x + width, y + height), "tile")
        if not settings.use_thumbnail:
            return
    limits = {"min_image_tokens": settings.min_image_tokens, "max_image_tokens": settings.max_image_tokens}
    width, height = settings.smart_resize(
        facts.height, facts.width, downsample_factor=factor, encoder_patch_size=patch, **limits
    )
    rows, columns = (math.ceil(length // patch / factor) for length in (height, width))
    cursor.grid(rows, columns, whole(facts.width, facts.height), "thumbnail" if places else "full")


def shape_then_slices(facts: Facts, cursor: Cursor) -> None:
    """MiniCPM-V: the whole picture, then slices of a larger copy, row by row; a cell is four patches wide (or two)."""
    settings = facts.processor.image_processor
    size, mode = (facts.height, facts.width), settings.downsample_mode
    rules = {"scale_resolution": settings.scale_resolution, "patch_size": settings.patch_size, "downsample_mode": mode}
    cell = settings.patch_size * (2 if mode == "4x" else 4)
    limits = settings.max_slice_nums, settings.scale_resolution
    grid = settings.get_sliced_grid(size, *limits) if settings.slice_mode else None
    height, width = settings.find_best_resize(size, **rules, allow_upscale=grid is None)
    kind: Kind = "full" if grid is None else "thumbnail"
    cursor.grid(height // cell, width // cell, whole(facts.width, facts.height), kind)
    if grid is None:
        return
    rows, columns = grid
    height, width = settings.get_refine_size(size, grid, **rules, allow_upscale=True)
    across, down = facts.width / columns, facts.height / rows
    for row in range(rows):
        for column in range(columns):
            box = column * across, row * down, (column + 1) * across, (row + 1) * down
            cursor.grid(height // rows // cell, width // columns // cell, box, "tile")
