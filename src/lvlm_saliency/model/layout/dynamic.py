"""Qwen-VL and its kin: the picture is resized, shape nearly kept, and gets as many tokens as it wants."""

from __future__ import annotations

from lvlm_saliency.model.layout.facts import Cursor, Facts
from lvlm_saliency.model.layout.tiles import whole


def dynamic(facts: Facts, cursor: Cursor) -> None:
    """One grid over the whole picture, from the processor's own `image_grid_thw` (in patches before merging)."""
    frames, rows, cols = facts.row("image_grid_thw")
    merge = int(facts.setting("merge_size", 2))
    for _ in range(frames):
        cursor.grid(rows // merge, cols // merge, whole(facts.width, facts.height), "full")
