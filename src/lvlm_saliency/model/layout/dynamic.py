"""One grid over the whole picture, in as many cells as its own shape asks for: Qwen-VL, GLM-V, Pixtral, Gemma 4."""

from __future__ import annotations

import importlib
import math

from lvlm_saliency.errors import InputError
from lvlm_saliency.model.layout.facts import Cursor, Facts, edge
from lvlm_saliency.model.layout.tiles import whole


def dynamic(facts: Facts, cursor: Cursor) -> None:
    """From the processor's own `image_grid_thw` (in patches before merging)."""
    frames, rows, cols = facts.row("image_grid_thw")
    merge = int(facts.setting("merge_size", 2))
    for _ in range(frames):
        cursor.grid(rows // merge, cols // merge, whole(facts.width, facts.height), "full")


def padded(facts: Facts, cursor: Cursor) -> None:
    """Kimi K2.5: never made larger, and filled up to whole cells at the right and at the bottom."""
    settings = facts.processor.image_processor
    merge = int(settings.merge_size)
    fit = importlib.import_module(type(settings).__module__).navit_resize
    (height, width), (full_height, full_width) = fit(
        facts.height,
        facts.width,
        patch_size=settings.patch_size,
        merge_kernel_size=merge,
        max_patches=settings.max_patches,
        max_size_per_side=edge(settings.size, "max_height"),
    )
    cell = settings.patch_size * merge
    box = 0.0, 0.0, facts.width * full_width / width, facts.height * full_height / height
    cursor.grid(full_height // cell, full_width // cell, box, "full")


def cornered(facts: Facts, cursor: Cursor) -> None:
    """GLM-5V: shape kept, in the upper left corner of whole cells; only a very small picture is made larger."""
    settings = facts.processor.image_processor
    _, rows, cols = facts.row("image_grid_thw")
    merge, patch, frames = int(settings.merge_size), int(settings.patch_size), int(settings.temporal_patch_size)
    full = rows * patch, cols * patch
    scale = min(full[0] / facts.height, full[1] / facts.width)
    if frames * facts.height * facts.width >= frames * (patch * merge) ** 2 * settings.min_image_tokens:
        scale = min(1.0, scale)
    height, width = (
        max(1, min(most, math.floor(own * scale))) for most, own in zip(full, (facts.height, facts.width), strict=True)
    )
    box = 0.0, 0.0, facts.width * full[1] / width, facts.height * full[0] / height
    cursor.grid(rows // merge, cols // merge, box, "full")


def with_marks(facts: Facts, cursor: Cursor) -> None:
    """Hunyuan-VL: a mark, rows that end in a newline each, and a mark, all of them image tokens."""
    _, rows, cols = facts.row("image_grid_thw")
    merge = int(facts.setting("merge_size", 2))
    marks = int(bool(getattr(facts.processor, "cat_extra_token", True)))
    cursor.skip(marks)
    cursor.grid(rows // merge, cols // merge, whole(facts.width, facts.height), "full", newline=True)
    cursor.skip(marks)


def packed(facts: Facts, cursor: Cursor) -> None:
    """Mistral 3 and Pixtral: `image_sizes` in patches after merging; the breaks between rows are text."""
    height, width = facts.row("image_sizes")
    vision = getattr(facts.config, "vision_config", None)
    patch = getattr(vision, "patch_size", None) or facts.processor.patch_size
    merge = getattr(facts.config, "spatial_merge_size", None) or getattr(facts.processor, "spatial_merge_size", 1)
    cell = patch * merge
    cursor.grid(height // cell, width // cell, whole(facts.width, facts.height), "full")


def pooled(facts: Facts, cursor: Cursor) -> None:
    """Gemma 4: patches with their (x, y), several of them pooled into a token."""
    _placed(facts, cursor, int(facts.setting("pooling_kernel_size", 3)))


def placed(facts: Facts, cursor: Cursor) -> None:
    """Gemma 4 without a vision tower: one token for each patch."""
    _placed(facts, cursor, 1)


def _placed(facts: Facts, cursor: Cursor, pool: int) -> None:
    places = facts.inputs.get("image_position_ids")
    if places is None:
        raise InputError("the inputs hold no image_position_ids: pass everything that the processor returned")
    corner = places[facts.number].amax(0) if hasattr(places, "amax") else places[facts.number].max(0)
    cols, rows = (int(last) + 1 for last in corner)  # padding is -1
    cursor.grid(rows // pool, cols // pool, whole(facts.width, facts.height), "full")
