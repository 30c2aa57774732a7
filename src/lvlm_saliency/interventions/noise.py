"""The diffusion noise that VCD puts on a picture, on the tensors that processors make."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lvlm_saliency.decoding.draws import generator
from lvlm_saliency.errors import InputError
from lvlm_saliency.regions import placeholder_ids

STEPS = 1000


def schedule() -> tuple[Tensor, Tensor]:
    """sqrt(abar_T) and sqrt(1 - abar_T) for T = 0..999, float32 `[1000]`; betas rise in a sigmoid from 1e-5 to 5e-3."""
    betas = torch.sigmoid(torch.linspace(-6, 6, STEPS)) * (5e-3 - 1e-5) + 1e-5
    kept = torch.cumprod(1 - betas, dim=0)
    return kept.sqrt(), (1 - kept).sqrt()


def noised(model, inputs: dict, step: int, seed: int, numbers: Sequence[int]) -> Tensor:
    """`pixel_values` after `step` steps of diffusion, x' = sqrt(abar) x + sqrt(1 - abar) eps; shape and dtype stay.

    eps belongs to the sample: it is a function of (seed, number of the sample, which of its tiles). The two frames that
    Qwen-VL makes of a still picture share it, and the empty tiles that fill up a batch stay empty.

    Args:
        inputs: as the processor made them; numbers: one number per sample.

    Raises:
        InputError: it cannot be told which pictures belong to which sample.
    """
    pixels = inputs["pixel_values"]
    keep, spread = (float(values[step]) for values in schedule())
    eps = torch.empty(pixels.shape)
    row = 0
    for number, count in zip(numbers, rows_of_samples(model, inputs), strict=True):
        draws = generator(seed, number)
        for _ in range(count):
            eps[row] = _drawn(model, pixels[row], draws)
            row += 1
    x = pixels.float()
    empty = (x == 0).flatten(-3).all(-1)[..., None, None, None] if x.dim() >= 4 else torch.zeros((), dtype=torch.bool)
    return torch.where(empty.to(x.device), x, keep * x + spread * eps.to(x.device)).to(pixels.dtype)


def _drawn(model, pixels: Tensor, draws: torch.Generator) -> Tensor:
    """eps for one row of `pixel_values`: a picture `[C, H, W]`, its tiles `[n, C, H, W]`, or a flat patch."""
    if pixels.dim() == 4:  # tile by tile, so that how many empty ones follow changes nothing
        return torch.stack([torch.randn(tile.shape, generator=draws) for tile in pixels])
    if pixels.dim() == 1:
        vision = model.config.vision_config
        frames, channels = vision.temporal_patch_size, getattr(vision, "in_channels", 3)
        one = torch.randn((channels, 1, pixels.shape[0] // frames // channels), generator=draws)
        return one.expand(-1, frames, -1).reshape(-1)
    return torch.randn(pixels.shape, generator=draws)


def rows_of_samples(model, inputs: dict) -> list[int]:
    """How many rows of `pixel_values` each sample has.

    Raises:
        InputError: neither the image tokens nor the shape tells.
    """
    ids, rows = inputs["input_ids"], inputs["pixel_values"].shape[0]
    if rows == len(ids):
        return [1] * rows
    image = torch.isin(ids.cpu(), torch.tensor(placeholder_ids(model), dtype=ids.dtype))
    if inputs["pixel_values"].dim() < 5:  # every tile, or every patch, makes the same number of tokens
        shares = [tokens * rows / max(1, int(image.sum())) for tokens in image.sum(1).tolist()]
    else:  # tiles are joined to one run of tokens per picture
        starts = image & ~torch.nn.functional.pad(image, (1, 0))[:, :-1]
        shares = starts.sum(1).tolist()
    if any(share != int(share) for share in shares) or sum(shares) != rows:
        raise InputError("it cannot be told which pictures belong to which sample: pass the samples one by one")
    return [int(share) for share in shares]
