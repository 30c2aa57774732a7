"""How many image tokens each picture of the inputs makes, without running the vision tower."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import Tensor

from lvlm_saliency.errors import InputError
from lvlm_saliency.model import families
from lvlm_saliency.model.layout.anyres import Joined
from lvlm_saliency.model.towers import beside_patches


@dataclass(frozen=True)
class Part:
    """A piece of `pixel_values` whose image tokens stand together in one prompt: a picture, or one of its tiles.

    tiles: its numbers along the leading axes of `pixel_values`, counted through: rows (pictures, tiles or patches), or
        tiles `[P, n]` of pictures. What no part names fills up a batch, and the model leaves it out.
    tokens: how many image tokens it makes.
    """

    tiles: range
    tokens: int


def picture_parts(config: Any, inputs: Mapping[str, Any]) -> list[Part] | None:
    """The parts of `inputs["pixel_values"]`, in the order in which the model puts their features into the prompts.

    Args:
        config: the model's configuration.
        inputs: what the processor returned, with `pixel_values` and what belongs to it (`image_grid_thw`, ...).

    Returns:
        None for a family or a vision tower that is not listed, and where a grid or a size is missing.
    """
    family = families.find(config.model_type)
    parts = _PARTS.get(family.grid) if family is not None and family.grid is not None else None
    return None if parts is None else parts(config, inputs)


def expected_image_tokens(config: Any, inputs: Mapping[str, Any]) -> int | None:
    """Feature vectors that the model makes of the pictures in `inputs`, all samples together; None as above."""
    parts = picture_parts(config, inputs)
    return None if parts is None else sum(part.tokens for part in parts)


def expected_video_tokens(config: Any, inputs: Mapping[str, Any]) -> int | None:
    """The same for `pixel_values_videos`; None where only the processor can tell."""
    family, grids, merge = families.find(config.model_type), inputs.get("video_grid_thw"), _merged(config)
    if family is None:
        return None
    if grids is not None and merge is not None and family.grid in ("dynamic:dynamic", "dynamic:cornered"):
        return int(grids.prod(-1).sum()) // merge**2
    places, pooled = inputs.get("video_position_ids"), family.film == "films:pooled_frames"
    if places is not None and family.film in ("films:pooled_frames", "films:placed_frames"):
        pool = config.vision_config.pooling_kernel_size if pooled else 1
        return int(((places >= 0).all(-1).sum(-1) // pool**2).sum())
    pixels = inputs["pixel_values_videos"]
    if family.film == "films:halved_frames" and pixels.dim() == 5:
        half = -(-(config.vision_config.image_size // config.vision_config.patch_size) // 2)
        return pixels.shape[0] * (pixels.shape[1] * half**2 + 1)  # and one newline for each video
    return None


def _crop(config: Any, inputs: Mapping[str, Any]) -> list[Part] | None:
    """Patches and class tokens, as the tower gives them; the selection "default" drops the first, whatever it is."""
    pixels, vision, beside = inputs["pixel_values"], config.vision_config, beside_patches(config.vision_config)
    if beside is None:
        return None
    tall, wide = vision.patch_size if isinstance(vision.patch_size, (list, tuple)) else (vision.patch_size,) * 2
    sizes = _sizes(inputs)
    if sizes is None:  # a tower that packs pictures brings sizes: a batch of them is filled up to the right and below
        sizes = [tuple(pixels.shape[-2:])] * pixels.shape[:-3].numel()
    first = beside - (config.vision_feature_select_strategy == "default")
    return [
        Part(range(n, n + 1), (height // tall) * (width // wide) + first) for n, (height, width) in enumerate(sizes)
    ]


def _anyres(config: Any, inputs: Mapping[str, Any]) -> list[Part] | None:
    pixels, sizes, vision = inputs["pixel_values"], _sizes(inputs), config.vision_config
    if sizes is None:
        return None
    side, grid = vision.image_size, vision.image_size // vision.patch_size
    grid = int(grid * Fraction(getattr(config, "downsample_rate", None) or 1))
    class_token = "clip" in vision.model_type and config.vision_feature_select_strategy == "full"
    base = grid**2 + int(class_token)
    counts = inputs.get("batch_num_images")
    alone = [True] * len(sizes)
    if counts is not None:  # OneVision cuts a picture into tiles only where it is its sample's only one
        alone = [int(count) == 1 for count in counts for _ in range(int(count))]
        if len(alone) != len(sizes):
            raise InputError(
                f"batch_num_images counts {len(alone)} pictures and image_sizes holds {len(sizes)}: "
                "pass all that the processor returned, of one call"
            )
    parts, begin = [], 0
    for number, ((height, width), cut) in enumerate(zip(sizes, alone, strict=True)):
        tiles, tokens = 1, base + 1  # and a newline token
        if cut:
            joined = Joined.of(width, height, config.image_grid_pinpoints, side, grid)
            rows, cols = joined.resampled(grid, getattr(config, "vision_aspect_ratio", None))
            tiles = 1 + -(-joined.height // side) * -(-joined.width // side)
            tokens = base + rows * (cols + 1)
        start = begin if pixels.dim() == 4 else number * pixels.shape[1]  # all tiles in a row, or filled up per picture
        parts.append(Part(range(start, start + tiles), tokens))
        begin += tiles
    return parts


def _dynamic(config: Any, inputs: Mapping[str, Any]) -> list[Part] | None:
    return _of_grids(config, inputs, lambda rows, cols: rows * cols)


def _with_marks(config: Any, inputs: Mapping[str, Any]) -> list[Part] | None:
    return _of_grids(config, inputs, lambda rows, cols: rows * (cols + 1) + 2)


def _of_grids(config: Any, inputs: Mapping[str, Any], tokens: Callable[[int, int], int]) -> list[Part] | None:
    """`tokens`: of a picture of so many rows and columns of cells."""
    grids, merge = inputs.get("image_grid_thw"), _merged(config)
    if grids is None or merge is None:
        return None
    parts, begin = [], 0
    for frames, rows, cols in grids.tolist():
        patches = frames * rows * cols
        parts.append(Part(range(begin, begin + patches), frames * tokens(rows // merge, cols // merge)))
        begin += patches
    return parts


def _merged(config: Any) -> int | None:
    """How many patches along a side make a token."""
    vision = config.vision_config
    for name in ("spatial_merge_size", "merge_size", "merge_kernel_size"):
        if (merge := getattr(vision, name, None)) is not None:
            return merge[0] if isinstance(merge, (list, tuple)) else merge
    return None


def _packed(config: Any, inputs: Mapping[str, Any]) -> list[Part] | None:
    sizes = _sizes(inputs)
    if sizes is None:
        return None
    cell = config.vision_config.patch_size * config.spatial_merge_size
    return [Part(range(n, n + 1), (height // cell) * (width // cell)) for n, (height, width) in enumerate(sizes)]


def _pooled(config: Any, inputs: Mapping[str, Any]) -> list[Part] | None:
    return _placed(config, inputs, config.vision_config.pooling_kernel_size)


def _placed(config: Any, inputs: Mapping[str, Any], pool: int = 1) -> list[Part] | None:
    places = inputs.get("image_position_ids")
    if places is None:
        return None
    counts = ((places >= 0).all(-1).sum(-1) // pool**2).tolist()
    return [Part(range(n, n + 1), tokens) for n, tokens in enumerate(counts)]


def _square_tiles(config: Any, inputs: Mapping[str, Any]) -> list[Part]:
    """Each row of the pixels is a tile of one size, of which so many patches along a side make a token."""
    vision = config.vision_config
    merged = getattr(config, "downsample_factor", None) or getattr(vision, "hidden_stride", None)
    merged = merged or round(1 / getattr(vision, "pixel_shuffle_ratio", 1))
    side = vision.image_size // vision.patch_size // merged
    return [Part(range(n, n + 1), side**2) for n in range(len(inputs["pixel_values"]))]


def _optimal_canvas(config: Any, inputs: Mapping[str, Any]) -> list[Part]:
    return [Part(range(n, n + 1), config.image_seq_length) for n in range(len(inputs["pixel_values"]))]


def _marked_tiles(config: Any, inputs: Mapping[str, Any]) -> list[Part]:
    # Samples with fewer tiles are filled up with black ones, which the model leaves out.
    tiles = inputs["pixel_values"].flatten(0, 1).flatten(1)
    side = config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor
    return [Part(range(n, n + 1), side**2) for n in tiles.any(1).nonzero().flatten().tolist()]


def _crops(config: Any, inputs: Mapping[str, Any]) -> list[Part]:
    tokens = getattr(config, "mm_tokens_per_image", None) or config.vision_soft_tokens_per_image
    return [Part(range(n, n + 1), tokens) for n in range(len(inputs["pixel_values"]))]


def _sizes(inputs: Mapping[str, Any]) -> Sequence[Sequence[int]] | None:
    sizes = inputs.get("image_sizes")
    return sizes.tolist() if isinstance(sizes, Tensor) else sizes


def _overlapping_crops(config: Any, inputs: Mapping[str, Any]) -> list[Part] | None:
    """Molmo 2: a picture's crops in a row, and the tokens of its two grids, the whole picture's and the finer one's."""
    grids, crops = inputs.get("image_grids"), inputs.get("image_num_crops")
    if grids is None or crops is None:
        return None
    ends = itertools.accumulate(crops.tolist(), initial=0)
    tokens = [rows * columns + low_rows * low_columns for low_rows, low_columns, rows, columns in grids.tolist()]
    return [Part(range(*span), made) for span, made in zip(itertools.pairwise(ends), tokens, strict=True)]


_PARTS = {
    "crop:crop": _crop,
    "anyres:anyres": _anyres,
    "dynamic:dynamic": _dynamic,
    "tiled:optimal_canvas": _optimal_canvas,
    "tiled:marked_tiles": _marked_tiles,
    "tiled:crops": _crops,
    "tiled:numbered_tiles": _square_tiles,
    "tiled:broken_tiles": _square_tiles,
    "tiled:whole_then_tiles": _square_tiles,
    "crop:padded_square": _square_tiles,
    "canvas:corner_tiles": _square_tiles,
    "canvas:overlapping_crops": _overlapping_crops,
    "dynamic:padded": _dynamic,
    "dynamic:cornered": _dynamic,
    "dynamic:with_marks": _with_marks,
    "dynamic:packed": _packed,
    "dynamic:pooled": _pooled,
    "dynamic:placed": _placed,
}
