"""Which sample of a batch each picture belongs to.

The number of pictures does not tell: two pictures may both be in the first of two prompts. Models put the pictures'
features into the image tokens of the batch in order, so the image tokens of each prompt are counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.errors import InputError
from lvlm_saliency.model.placeholders import Part, picture_parts
from lvlm_saliency.model.regions import placeholder_ids


def tile_owners(model: Any, inputs: Mapping[str, Any]) -> Tensor:
    """The sample that each piece of `pixel_values` belongs to, int64 on the CPU; -1 for what only fills up the batch.

    Its shape is that of the leading axes: `[P]` for pictures, tiles or flat patches in a row, `[P, n]` for pictures of
    up to n tiles each.

    Raises:
        InputError: pictures and image tokens do not belong together, or nothing tells how many tokens a picture makes.
    """
    pixels: Tensor = inputs["pixel_values"]
    shape = pixels.shape[: 1 if pixels.dim() < 5 else 2]
    listed = picture_parts(model.config, inputs)
    parts = _encoded_parts(model, inputs) if listed is None else listed
    owners = torch.full((shape.numel(),), -1)
    for part, sample in zip(parts, _samples(_tokens(model, inputs), parts), strict=True):
        owners[part.tiles.start : part.tiles.stop] = sample
    owners = owners.view(shape)
    if listed is None and owners.dim() == 2:  # the tiles of a picture are then not known one by one: empty ones fill up
        owners = owners.masked_fill(~pixels.flatten(2).any(-1).cpu(), -1)
    return owners


def _tokens(model: Any, inputs: Mapping[str, Any]) -> list[int]:
    """Image tokens of each sample."""
    ids = inputs["input_ids"].cpu()
    return torch.isin(ids, torch.tensor(placeholder_ids(model, videos=False), dtype=ids.dtype)).sum(1).tolist()


def _samples(tokens: Sequence[int], parts: Sequence[Part]) -> list[int]:
    """The sample of each part, when samples have so many image tokens."""
    made = sum(part.tokens for part in parts)
    if made != sum(tokens):
        raise InputError(
            f"the prompts hold {sum(tokens)} image tokens and the pictures make {made}: "
            "pass pictures and prompts that belong together"
        )
    found, sample, left = [], 0, tokens[0]
    for part in parts:
        while not left and part.tokens:
            sample += 1
            left = tokens[sample]
        if part.tokens > left:
            raise InputError(
                f"the image tokens of prompt {sample} end in the midst of a picture: "
                "pass pictures and prompts that belong together"
            )
        left -= part.tokens
        found.append(sample)
    return found


def _encoded_parts(model: Any, inputs: Mapping[str, Any]) -> list[Part]:
    """The parts of a family that is not listed: its own encoder says how many tokens each picture makes."""
    pixels, grids = inputs["pixel_values"], inputs.get("image_grid_thw")
    count = pixels.shape[: 1 if pixels.dim() < 5 else 2].numel()
    samples = _tokens(model, inputs)
    if len(samples) == 1:
        return [Part(range(count), samples[0])]
    tokens = hf.picture_lengths(model, inputs)
    sizes = [count // len(pixels)] * len(pixels) if grids is None else grids.prod(-1).tolist()
    if len(tokens) != len(sizes) or sum(sizes) != count:
        raise InputError("it cannot be told which pictures belong to which sample: pass the samples one by one")
    ends = list(itertools.accumulate(sizes, initial=0))
    return [Part(range(*span), made) for span, made in zip(itertools.pairwise(ends), tokens, strict=True)]
