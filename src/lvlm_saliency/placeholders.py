"""How many image tokens a prompt must hold for its pictures, without running the vision tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lvlm_saliency import families


def expected_image_tokens(config: Any, inputs: Mapping[str, Any]) -> int | None:
    """Feature vectors that the model makes of `inputs`, all samples together.

    Args:
        config: the model's configuration.
        inputs: what the processor returned, with `pixel_values`.

    Returns:
        None for a family that is not listed, and for anyres grids, where only the processor can tell.
    """
    family = families.find(config.model_type)
    count = _COUNTS.get(family.grid) if family is not None else None
    return None if count is None else count(config, inputs)


def _crop(config: Any, inputs: Mapping[str, Any]) -> int:
    pixels: Tensor = inputs["pixel_values"]
    patch = config.vision_config.patch_size
    class_token = config.vision_feature_select_strategy == "full" and "clip" in config.vision_config.model_type
    height, width = pixels.shape[-2:]
    return pixels.shape[:-3].numel() * ((height // patch) * (width // patch) + int(class_token))


def _dynamic(config: Any, inputs: Mapping[str, Any]) -> int | None:
    grids = inputs.get("image_grid_thw")
    return None if grids is None else int(grids.prod(-1).sum()) // config.vision_config.spatial_merge_size**2


def _optimal_canvas(config: Any, inputs: Mapping[str, Any]) -> int:
    return len(inputs["pixel_values"]) * config.image_seq_length


def _marked_tiles(config: Any, inputs: Mapping[str, Any]) -> int:
    # Samples with fewer tiles are filled up with black ones, which the model leaves out.
    tiles = inputs["pixel_values"].flatten(0, 1).flatten(1)
    side = config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor
    return int(tiles.any(1).sum()) * side**2


def _crops(config: Any, inputs: Mapping[str, Any]) -> int:
    return len(inputs["pixel_values"]) * config.mm_tokens_per_image


_COUNTS = {
    "crop:crop": _crop,
    "dynamic:dynamic": _dynamic,
    "tiled:optimal_canvas": _optimal_canvas,
    "tiled:marked_tiles": _marked_tiles,
    "tiled:crops": _crops,
}
