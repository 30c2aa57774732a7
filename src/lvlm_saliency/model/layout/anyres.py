"""LLaVA-NeXT and LLaVA-OneVision: the whole picture once, then tiles of a larger copy joined into one grid.

The larger copy keeps the picture's shape and is padded up to the best of a few allowed sizes. The joined grid loses the
padding's rows or columns again, and every row that is left ends in a newline token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from transformers.image_processing_utils import select_best_resolution

from lvlm_saliency.errors import ModelError
from lvlm_saliency.model.layout.crop import Canvas
from lvlm_saliency.model.layout.facts import Cursor, Facts, edge
from lvlm_saliency.model.layout.tiles import ImageTile


@dataclass(frozen=True)
class Encoder:
    """The vision tower: `side` pixels, `grid` patches of `patch` pixels along a side (a rest may be left over)."""

    side: int
    grid: int
    patch: float

    @classmethod
    def of(cls, facts: Facts) -> Encoder:
        settings = facts.processor.image_processor
        sizes = [source for source in (settings.crop_size, settings.size) if source]
        side = next(filter(None, (edge(size, name) for size in sizes for name in ("height", "shortest_edge"))), None)
        if side is None:
            raise ModelError("the image processor does not say its size: its image tokens cannot be placed")
        tokens = facts.setting("num_image_tokens")
        grid = math.isqrt(tokens) if tokens else side // facts.patch_size()
        vision = getattr(facts.config, "vision_config", None)
        patch = getattr(facts.processor, "patch_size", None) or getattr(vision, "patch_size", None)
        # Granite takes windows of patches together ("4/8"): its cells are wider by as much
        rate = Fraction(facts.setting("downsample_rate") or 1)
        return cls(side, int(grid * rate), float((patch or side // grid) / rate))


def anyres(facts: Facts, cursor: Cursor) -> None:
    """The base grid, then the joined one; only the padded picture where OneVision reads several pictures at once."""
    encoder = Encoder.of(facts)
    if _among_several(facts):
        canvas = Canvas(facts.width, facts.height)
        canvas.pad_to_square()
        canvas.resize(encoder.side, encoder.side)
        seen = encoder.grid * encoder.patch
        cursor.grid(encoder.grid, encoder.grid, canvas.picture_box(0, 0, seen, seen), "full")
        cursor.skip(1)  # one newline token after the whole picture
        return
    base = Canvas(facts.width, facts.height)
    base.resize(encoder.side, encoder.side)
    seen = encoder.grid * encoder.patch
    cursor.grid(encoder.grid, encoder.grid, base.picture_box(0, 0, seen, seen), "thumbnail")
    _joined(facts, cursor, encoder)


def _among_several(facts: Facts) -> bool:
    """OneVision cuts a picture into tiles only when it is the only one that was given for its sample."""
    counts = facts.inputs.get("batch_num_images")
    if counts is None:
        return False
    per_picture = [int(count) for count in counts for _ in range(int(count))]
    return per_picture[facts.number] != 1


@dataclass(frozen=True)
class Joined:
    """The one grid that a picture's tiles are joined to: `rows` x `cols` cells over a canvas of `width` x `height`
    pixels, of which `top` rows on either side (or `left` columns) hold nothing but padding."""

    width: int
    height: int
    rows: int
    cols: int
    top: int
    left: int

    @classmethod
    def of(cls, width: int, height: int, pinpoints: Sequence[Sequence[int]], side: int, grid: int) -> Joined:
        """For a picture of `width` x `height` pixels and an encoder of `side` pixels and `grid` cells along a side."""
        canvas_height, canvas_width = select_best_resolution((height, width), list(pinpoints))
        rows, cols = canvas_height // side * grid, canvas_width // side * grid
        # Whole rows (or columns) of padding are taken away again, as many at the top as at the bottom.
        top = left = 0
        if width / height > cols / rows:
            top = (rows - int(round(height * (cols / width), 7))) // 2
        else:
            left = (cols - int(round(width * (rows / height), 7))) // 2
        return cls(canvas_width, canvas_height, rows, cols, top, left)

    @property
    def kept(self) -> tuple[int, int]:
        """Rows and columns without the padding."""
        return self.rows - 2 * self.top, self.cols - 2 * self.left

    def resampled(self, grid: int, limit: str | None) -> tuple[int, int]:
        """The rows and columns that are left: OneVision shrinks a grid that holds too many tokens (`limit`
        "anyres_max_9": nine tiles' worth)."""
        rows, cols = self.kept
        if not limit:
            return rows, cols
        ratio = math.sqrt(rows * cols / (int(limit.removeprefix("anyres_max_")) * grid**2))
        return (int(rows // ratio), int(cols // ratio)) if ratio > 1.1 else (rows, cols)


def _joined(facts: Facts, cursor: Cursor, encoder: Encoder) -> None:
    pinpoints = facts.setting("image_grid_pinpoints")
    if not pinpoints:
        raise ModelError("the processor has no image_grid_pinpoints: its tiles cannot be placed")
    joined = Joined.of(facts.width, facts.height, pinpoints, encoder.side, encoder.grid)
    rows, cols, top, left = joined.rows, joined.cols, joined.top, joined.left
    canvas = _fitted(facts, joined.width, joined.height)
    kept = joined.kept

    shrunk = joined.resampled(encoder.grid, facts.setting("vision_aspect_ratio"))
    if shrunk != kept:
        # Resampled as one picture: cells no longer know the seams between tiles.
        start_x, start_y = _pixel(left, encoder), _pixel(top, encoder)
        end_x, end_y = _pixel(cols - left, encoder, end=True), _pixel(rows - top, encoder, end=True)
        box = canvas.picture_box(start_x, start_y, end_x, end_y)
        cursor.tiles.append(ImageTile(cursor.rows(*shrunk, newline=True), box, "tile"))
        return
    positions = cursor.rows(*kept, newline=True)
    # One grid per tile: where the patch size does not divide the tile, a strip is left unseen at each seam.
    for first_row in range(0, rows, encoder.grid):
        for first_col in range(0, cols, encoder.grid):
            row_start, row_end = max(first_row, top), min(first_row + encoder.grid, rows - top)
            col_start, col_end = max(first_col, left), min(first_col + encoder.grid, cols - left)
            if row_start >= row_end or col_start >= col_end:
                continue
            box = canvas.picture_box(
                _pixel(col_start, encoder),
                _pixel(row_start, encoder),
                _pixel(col_end, encoder, end=True),
                _pixel(row_end, encoder, end=True),
            )
            part = positions[row_start - top : row_end - top, col_start - left : col_end - left]
            cursor.tiles.append(ImageTile(part, box, "tile"))


def _fitted(facts: Facts, width: int, height: int) -> Canvas:
    """The picture scaled to fit into width x height and centred there."""
    canvas = Canvas(facts.width, facts.height)
    across, down = width / facts.width, height / facts.height
    if across < down:
        canvas.resize(width, min(math.ceil(facts.height * across), height))
    else:
        canvas.resize(min(math.ceil(facts.width * down), width), height)
    canvas.center_pad(width, height)
    return canvas


def _pixel(patch: int, encoder: Encoder, end: bool = False) -> float:
    """Where on the canvas a patch begins along its axis; with `end`, where the patch before it ends."""
    tile, within = divmod(patch - 1 if end else patch, encoder.grid)
    return tile * encoder.side + (within + end) * encoder.patch
