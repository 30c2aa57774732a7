"""Pictures on a canvas that their tiles are cut from: Llama 4, Phi-4-multimodal, Molmo 2 and Step."""

from __future__ import annotations

import importlib
import math
from typing import Any

from lvlm_saliency.model.layout.crop import Canvas
from lvlm_saliency.model.layout.facts import Cursor, Facts, known_edge
from lvlm_saliency.model.layout.tiles import Kind, whole


def corner_tiles(facts: Facts, cursor: Cursor) -> None:
    """Llama 4: tiles of a canvas with the picture in its upper left corner, shape kept; then the whole picture."""
    side = known_edge(facts.processor.image_processor.size, "height")
    marks = facts.tokens_until(int(cursor.positions[cursor.used]) if len(cursor.positions) else 0, "<|image_end|>")
    rows = max(1, marks.count("<|tile_y_separator|>"))
    columns = marks.count("<|tile_x_separator|>") // rows + 1
    canvas = Canvas(facts.width, facts.height)
    limits = rows * side, columns * side
    if not facts.setting("resize_to_max_canvas"):  # no picture is made larger than one tile
        limits = min(max(facts.height, side), limits[0]), min(max(facts.width, side), limits[1])
    scale = min(limits[0] / facts.height, limits[1] / facts.width)
    canvas.resize(*(max(1, math.floor(length * scale + 1e-9)) for length in (facts.width, facts.height)))
    cells = math.isqrt((side // facts.processor.patch_size) ** 2 // facts.processor.downsample_ratio)
    several = rows * columns > 1
    for row in range(rows):
        for column in range(columns):
            x, y = column * side, row * side
            box = canvas.picture_box(x, y, x + side, y + side)
            cursor.grid(cells, cells, box, "tile" if several else "full")
    if several:
        cursor.grid(cells, cells, whole(facts.width, facts.height), "thumbnail")


def joined_crops(facts: Facts, cursor: Cursor) -> None:
    """Phi-4-multimodal: the crops of a canvas joined to one grid without its padding, a separator behind every row and
    after the grid; then the whole canvas in the same way."""
    settings = facts.processor.image_processor
    side, patch = known_edge(settings.size, "height"), int(settings.patch_size)
    columns, rows = (math.ceil(length / side) for length in (facts.width, facts.height))
    if columns * rows > settings.dynamic_hd:
        columns, rows = _closest_ratio(settings, facts.width, facts.height, side)
    width, height = columns * side, rows * side
    across, down = width / facts.width, height / facts.height
    canvas = Canvas(facts.width, facts.height)
    canvas.resize(*((width, int(facts.height * across)) if across < down else (int(facts.width * down), height)))
    across_empty, down_empty = (width - canvas.width) // patch, (height - canvas.height) // patch
    cell = 2 * patch
    down_cells, across_cells = (
        math.ceil((total // patch - empty) / 2) for total, empty in ((height, down_empty), (width, across_empty))
    )
    box = canvas.picture_box(0, 0, across_cells * cell, down_cells * cell)
    cursor.grid(down_cells, across_cells, box, "tile", newline=True)
    cursor.skip(1)
    cells = side // cell
    cursor.grid(cells, cells, canvas.picture_box(0, 0, width, height), "thumbnail", newline=True)


def _closest_ratio(settings: Any, width: int, height: int, side: int) -> tuple[int, int]:
    most = settings.dynamic_hd
    ratios = sorted(
        {(i, j) for i in range(1, most + 1) for j in range(1, most + 1) if i * j <= most}, key=lambda x: x[0] * x[1]
    )
    return settings.find_closest_aspect_ratio(width / height, ratios, width, height, side)


def overlapping_crops(facts: Facts, cursor: Cursor) -> None:
    """Molmo 2: the whole picture stretched to a square, then a larger copy whose overlapping crops make one grid.

    Patches are pooled two by two; where their number is odd, the last cell is half empty.
    """
    settings = facts.processor.image_processor
    low_rows, low_cols, rows, cols = facts.row("image_grids")
    side, patch = known_edge(settings.size, "height"), int(settings.patch_size)
    place = importlib.import_module(type(settings).__module__).compute_crop_geometry
    _, _, height, width = place(
        facts.height, facts.width, settings.max_crops, settings.overlap_margins, side, settings.patch_size
    )
    grids: tuple[tuple[Kind, int, int, int, int], ...] = (
        ("thumbnail", side, side, low_rows, low_cols),
        ("tile", height, width, rows, cols),
    )
    for kind, down, across, of_rows, of_cols in grids:
        canvas = Canvas(facts.width, facts.height)
        canvas.resize(across, down)
        top, bottom = _pooled(down // patch, of_rows, settings.pooling_size[0])
        left, right = _pooled(across // patch, of_cols, settings.pooling_size[1])
        box = canvas.picture_box(left * patch, top * patch, right * patch, bottom * patch)
        cursor.grid(of_rows, of_cols, box, kind)


def _pooled(patches: int, cells: int, pool: int) -> tuple[int, int]:
    """The first and last patch edge of cells over `patches`; what is missing lies half on either side."""
    missing = cells * pool - patches
    return -(missing // 2), patches + (missing + 1) // 2


def window_crops(facts: Facts, cursor: Cursor) -> None:
    """Step 3.7: crops of a window that fits the picture's shape, row by row, then the whole picture."""
    settings = facts.processor.image_processor
    stride = settings.vision_patch_size * settings.downsampler_stride
    size, side = known_edge(settings.size, "height"), settings.patch_size
    plan = settings._plan_patches(facts.width, facts.height, size, side)
    _, (width, height), window, columns, rows, squared = plan
    canvas = Canvas(facts.width, facts.height)
    if squared:  # a thin picture stands in the upper left corner of a square
        canvas.width = canvas.height = max(facts.width, facts.height)
    box = 0.0, 0.0, float(canvas.width), float(canvas.height)
    canvas.resize(width, height)
    for row in range(rows):
        for column in range(columns):
            x, y = column * window, row * window
            edges = x, y, min(x + window, width), min(y + window, height)
            cursor.grid(side // stride, side // stride, canvas.picture_box(*edges), "tile")
    cursor.grid(size // stride, size // stride, box, "thumbnail" if rows * columns else "full")
