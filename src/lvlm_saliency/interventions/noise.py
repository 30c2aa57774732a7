"""The diffusion noise of VCD, added to the tensors that processors make of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency.decoding.contrast import whole_pictures
from lvlm_saliency.decoding.draws import generator
from lvlm_saliency.errors import InputError
from lvlm_saliency.model import families
from lvlm_saliency.model.pictures import tile_owners

STEPS = 1000
_PADDED = ("crop:crop", "dynamic:packed")
"""Grids of families that fill smaller pictures up to the largest of a batch."""


def schedule() -> tuple[Tensor, Tensor]:
    """sqrt(abar_T) and sqrt(1 - abar_T) for T = 0..999, float32 `[1000]`; betas rise in a sigmoid from 1e-5 to 5e-3."""
    betas = torch.sigmoid(torch.linspace(-6, 6, STEPS)) * (5e-3 - 1e-5) + 1e-5
    kept = torch.cumprod(1 - betas, dim=0)
    return kept.sqrt(), (1 - kept).sqrt()


def noised(model: Any, inputs: dict[str, Any], step: int, seed: int, numbers: Sequence[int]) -> Tensor:
    """`pixel_values` after `step` steps of diffusion, x' = sqrt(abar) x + sqrt(1 - abar) eps; shape and dtype stay.

    eps is a function of (seed, number of the sample, number of its tile). The two frames that Qwen-VL makes of a still
    picture share it, and empty tiles that only fill up the batch stay empty.

    Args:
        model: the model.
        inputs: as the processor made them.
        step: number of diffusion steps, of 1000.
        seed: the seed.
        numbers: one number per sample.

    Raises:
        InputError: which pictures belong to which sample is not known.
    """
    pixels = whole_pictures("noise", inputs)
    keep, spread = (float(values[step]) for values in schedule())
    owners = tile_owners(model, inputs)
    tiles, owners = pixels.flatten(0, owners.dim() - 1), owners.flatten()
    sizes = _own_sizes(model, inputs)
    eps = torch.zeros(tiles.shape)
    for sample, number in enumerate(numbers):
        draws = generator(seed, number)
        for tile in (owners == sample).nonzero().flatten().tolist():
            drawn = _drawn(
                model, tiles[tile] if sizes is None else tiles[tile][:, : sizes[tile][0], : sizes[tile][1]], draws
            )
            eps[tile][tuple(map(slice, drawn.shape))] = drawn
    x = tiles.float()
    given = (owners >= 0).view(-1, *[1] * (x.dim() - 1)).to(x.device)
    return torch.where(given, keep * x + spread * eps.to(x.device), x).to(pixels.dtype).view(pixels.shape)


def _drawn(model: Any, pixels: Tensor, draws: torch.Generator) -> Tensor:
    """eps for a picture or a tile `[C, H, W]`, or for a flat patch."""
    if pixels.dim() == 1:
        vision = model.config.vision_config
        frames, channels = getattr(vision, "temporal_patch_size", 1), getattr(vision, "in_channels", 3)
        one = torch.randn((channels, 1, pixels.shape[0] // frames // channels), generator=draws)
        return one.expand(-1, frames, -1).reshape(-1)
    return torch.randn(pixels.shape, generator=draws)


def _own_sizes(model: Any, inputs: dict[str, Any]) -> list[list[int]] | None:
    """Height and width of each picture, where smaller ones are filled up to the largest of the batch (Pixtral)."""
    sizes, family = inputs.get("image_sizes"), families.find(model.config.model_type)
    if sizes is None or inputs["pixel_values"].dim() != 4 or (family is not None and family.grid not in _PADDED):
        return None  # all tiles have one size; these sizes are those of the pictures before they were cut into tiles
    return [[int(height), int(width)] for height, width in sizes]


def rows_of_samples(model: Any, inputs: dict[str, Any]) -> list[int]:
    """How many rows of `pixel_values` each sample has, by its image tokens.

    Raises:
        InputError: it cannot be told, or a row holds pictures of several samples.
    """
    owners = tile_owners(model, inputs).view(len(inputs["pixel_values"]), -1)
    first = owners.amax(1)
    if bool(((owners >= 0) & (owners != first[:, None])).any()):
        raise InputError("a row of pixel_values holds pictures of several samples: pass the samples one by one")
    return [int((first == sample).sum()) for sample in range(len(inputs["input_ids"]))]
