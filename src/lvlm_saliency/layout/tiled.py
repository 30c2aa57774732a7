"""InternVL, Idefics3, SmolVLM and Gemma 3: tiles of one size, each with its own square grid."""

from __future__ import annotations

import importlib
import math
import re

from lvlm_saliency.errors import ModelError

from .facts import Cursor, Facts, edge
from .tiles import Box, side_of, whole

_MARKER = re.compile(r"<row_(\d+)_col_(\d+)>")


def optimal_canvas(facts: Facts, cursor: Cursor) -> None:
    """InternVL: the picture stretched to the best arrangement of tiles, row by row; the whole picture comes last."""
    settings = facts.processor.image_processor
    columns = rows = 1
    if facts.setting("crop_to_patches") and settings.max_patches > 1:
        arrange = importlib.import_module(type(settings).__module__).get_optimal_tiled_canvas
        tile = edge(settings.size, "height"), edge(settings.size, "width")
        columns, rows = arrange((facts.height, facts.width), tile, settings.min_patches, settings.max_patches)
    _tiles_then_whole(facts, cursor, rows, columns, _side(facts, "image_seq_length"))


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
    _tiles_then_whole(facts, cursor, max(rows, 1), max(columns, 1), _side(facts, "image_seq_len"))


def crops(facts: Facts, cursor: Cursor) -> None:
    """Gemma 3: the whole picture first; with pan and scan, crops of long pictures follow."""
    side = _side(facts, "image_seq_length")
    boxes = _pan_and_scan(facts) if _was_scanned(facts, cursor) else []
    cursor.grid(side, side, whole(facts.width, facts.height), "thumbnail" if boxes else "full")
    for box in boxes:
        cursor.grid(side, side, box, "tile")


def _tiles_then_whole(facts: Facts, cursor: Cursor, rows: int, columns: int, side: int) -> None:
    picture = whole(facts.width, facts.height)
    if rows * columns == 1:
        cursor.grid(side, side, picture, "full")
        return
    width, height = facts.width / columns, facts.height / rows
    for row in range(rows):
        for column in range(columns):
            box = column * width, row * height, (column + 1) * width, (row + 1) * height
            cursor.grid(side, side, box, "tile")
    cursor.grid(side, side, picture, "thumbnail")


def _side(facts: Facts, name: str) -> int:
    tokens = facts.setting(name)
    side = side_of(int(tokens)) if tokens else None
    if side is None:
        raise ModelError(f"the processor's {name} is {tokens}, not a square: its tiles cannot be placed")
    return side


def _was_scanned(facts: Facts, cursor: Cursor) -> bool:
    """Pan and scan may be switched on in the processor's settings or in one call: the number of blocks tells."""
    tokens = int(facts.setting("image_seq_length"))
    return len(cursor.positions) // tokens > facts.pictures


def _pan_and_scan(facts: Facts) -> list[Box]:
    """The crops of one picture, in the order of the sequence; none where its shape or size does not call for them."""
    width, height = facts.width, facts.height
    smallest = int(facts.setting("pan_and_scan_min_crop_size") or 256)
    most = int(facts.setting("pan_and_scan_max_num_crops") or 4)
    ratio = max(width, height) / min(width, height)
    if ratio < float(facts.setting("pan_and_scan_min_ratio_to_activate") or 1.2):
        return []
    count = min(max(width, height) // smallest, math.floor(ratio + 0.5))
    count = min(max(count, 2), most)
    columns, rows = (count, 1) if width >= height else (1, count)
    crop_width, crop_height = math.ceil(width / columns), math.ceil(height / rows)
    if min(crop_width, crop_height) < smallest:
        return []
    return [
        (x, y, min(x + crop_width, width), min(y + crop_height, height))
        for y in range(0, crop_height * rows, crop_height)
        for x in range(0, crop_width * columns, crop_width)
    ]
