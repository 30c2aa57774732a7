"""Tiles of one size, each with its own square grid: InternVL, Idefics3, SmolVLM, Gemma 3, Aya, Cohere and Ovis."""

from __future__ import annotations

import importlib
import math
import re

from lvlm_saliency.errors import ModelError
from lvlm_saliency.model.layout.facts import Cursor, Facts, edge
from lvlm_saliency.model.layout.tiles import Box, side_of, whole

_MARKER = re.compile(r"<row_(\d+)_col_(\d+)>")


def optimal_canvas(facts: Facts, cursor: Cursor) -> None:
    """InternVL: the picture stretched to the best arrangement of tiles, row by row; the whole picture comes last."""
    rows, columns = _best_canvas(facts)
    seen = facts.seen(facts.processor.image_processor.size, "height")
    _tiles_then_whole(facts, cursor, rows, columns, _side(facts, "image_seq_length"), seen)


def numbered_tiles(facts: Facts, cursor: Cursor) -> None:
    """Aya Vision: as InternVL, with a number before every tile."""
    rows, columns = _best_canvas(facts)
    cell, size = facts.processor.patch_size, facts.processor.img_size
    side = size // cell
    _tiles_then_whole(facts, cursor, rows, columns, side, side * cell / size)


def broken_tiles(facts: Facts, cursor: Cursor) -> None:
    """Command A Vision: as InternVL, with a line-break token behind every tile; `patch_size` is a tile's side in
    tokens."""
    rows, columns = _best_canvas(facts)
    _tiles_then_whole(facts, cursor, rows, columns, int(facts.processor.patch_size), 1.0)


def whole_then_tiles(facts: Facts, cursor: Cursor) -> None:
    """Ovis 2: the whole picture, then tiles of it stretched to a canvas, with a mark between columns and rows."""
    side = _side(facts, "image_seq_length")
    marks = facts.tokens_until(int(cursor.positions[cursor.used]) if len(cursor.positions) else 0, "<IMG_END>")
    rows = marks.count("<IMG_ROW>") + 1
    columns = marks.count("<IMG_COL>") // rows + 1
    picture = whole(facts.width, facts.height)
    cursor.grid(side, side, picture, "full" if rows * columns == 1 else "thumbnail")
    if rows * columns > 1:
        _tiles(facts, cursor, rows, columns, side, 1.0)


def marked_tiles(facts: Facts, cursor: Cursor) -> None:
    """Idefics3 and SmolVLM: a marker before every tile says its row and column; the whole picture comes last."""
    tokens = int(facts.setting("image_seq_len"))
    rows = columns = 0
    position = cursor.used
    while position < len(cursor.positions):
        before = int(cursor.positions[position]) - 1
        marker = _MARKER.fullmatch(facts.processor.tokenizer.convert_ids_to_tokens(int(facts.ids[before])))
        if marker is None:
            break
        rows, columns = int(marker[1]), int(marker[2])
        position += tokens
    seen = facts.seen(facts.processor.image_processor.max_image_size, "longest_edge")
    _tiles_then_whole(facts, cursor, max(rows, 1), max(columns, 1), _side(facts, "image_seq_len"), seen)


def crops(facts: Facts, cursor: Cursor) -> None:
    """Gemma 3: the whole picture first; with pan and scan, crops of long pictures follow."""
    side = _side(facts, "image_seq_length")
    blocks = len(cursor.positions) // (side * side)
    if blocks == facts.pictures:
        count = 0  # pan and scan is off, or no picture is long enough
    elif facts.pictures == 1:
        count = blocks - 1
    else:
        count = _crop_count(facts)
    boxes = _strips(facts.width, facts.height, count)
    cursor.grid(side, side, whole(facts.width, facts.height), "thumbnail" if boxes else "full")
    for box in boxes:
        cursor.grid(side, side, box, "tile")


def _tiles_then_whole(facts: Facts, cursor: Cursor, rows: int, columns: int, side: int, seen: float) -> None:
    """Equal tiles row by row, then the whole picture in a tile of its own; one tile alone is the whole picture."""
    if rows * columns > 1:
        _tiles(facts, cursor, rows, columns, side, seen)
    whole_box = 0.0, 0.0, facts.width * seen, facts.height * seen
    cursor.grid(side, side, whole_box, "full" if rows * columns == 1 else "thumbnail")


def _tiles(facts: Facts, cursor: Cursor, rows: int, columns: int, side: int, seen: float) -> None:
    width, height = facts.width / columns, facts.height / rows
    for row in range(rows):
        for column in range(columns):
            x, y = column * width, row * height
            cursor.grid(side, side, (x, y, x + width * seen, y + height * seen), "tile")


def _best_canvas(facts: Facts) -> tuple[int, int]:
    """Rows and columns of tiles, by the image processor's own rule."""
    settings = facts.processor.image_processor
    if not facts.setting("crop_to_patches") or settings.max_patches <= 1:
        return 1, 1
    arrange = importlib.import_module(type(settings).__module__).get_optimal_tiled_canvas
    tile = edge(settings.size, "height"), edge(settings.size, "width")
    columns, rows = arrange((facts.height, facts.width), tile, settings.min_patches, settings.max_patches)
    return rows, columns


def _side(facts: Facts, name: str) -> int:
    tokens = facts.setting(name)
    side = side_of(int(tokens)) if tokens else None
    if side is None:
        raise ModelError(f"the processor's {name} is {tokens}, not a square: its tiles cannot be placed")
    return side


def _crop_count(facts: Facts) -> int:
    """How many crops pan and scan makes of this picture under the processor's settings."""
    width, height = facts.width, facts.height
    smallest = int(facts.setting("pan_and_scan_min_crop_size"))
    ratio = max(width, height) / min(width, height)
    if ratio < float(facts.setting("pan_and_scan_min_ratio_to_activate")):
        return 0
    count = max(2, min(max(width, height) // smallest, math.floor(ratio + 0.5)))
    count = min(count, int(facts.setting("pan_and_scan_max_num_crops")))
    crop = math.ceil(max(width, height) / count)
    return 0 if min(crop, width, height) < smallest else count


def _strips(width: int, height: int, count: int) -> list[Box]:
    """The picture cut across its longer side into `count` strips, the last one with what is left."""
    if width >= height:
        strip = math.ceil(width / max(count, 1))
        return [(x, 0, min(x + strip, width), height) for x in range(0, strip * count, strip)]
    strip = math.ceil(height / max(count, 1))
    return [(0, y, width, min(y + strip, height)) for y in range(0, strip * count, strip)]
