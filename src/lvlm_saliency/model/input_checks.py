"""Inputs that a user made, checked before the model fails on them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.errors import InputError, PromptError
from lvlm_saliency.model import families
from lvlm_saliency.model.placeholders import expected_image_tokens, expected_video_tokens
from lvlm_saliency.model.regions import PIXELS, check_named, end_token_ids, padding_id, placeholder_ids
from lvlm_saliency.model.towers import packs_pictures

_BESIDE = {
    "pixel_values": (
        "image_grid_thw",
        "mm_token_type_ids",
        "pixel_attention_mask",
        "spatial_shapes",
        "image_position_ids",
    ),
    "pixel_values_videos": (
        "video_grid_thw",
        "mm_token_type_ids",
        "second_per_grid_ts",
        "video_position_ids",
        "num_frames_per_video",
    ),
}
"""Inputs that must come with pictures or with videos, in every family whose forward call takes them."""
_SIZED = ("llava_next", "llava_next_video", "llava_onevision", "mistral3", "emu3")
"""Families that require image_sizes; others accept it."""


def check_inputs(
    model: Any, inputs: Mapping[str, Any], max_new_tokens: int = 0, same_device: bool = True, held: int = 0
) -> None:
    """Check inputs that a user made, so that a mistake gives a clear message before the model fails on it.

    Args:
        model: the model that they are for.
        inputs: what a processor returned.
        max_new_tokens: largest number of tokens to write; prompt and answer together must fit the model's context.
        same_device: also require the tensors to be where the model's embedding is.
        held: how many tokens of the prompt a cache holds already; their pictures are not among the inputs then.

    Raises:
        PromptError: an empty or too long prompt, right padding, pictures without placeholders or the other way round.
        InputError: missing or misshapen tensors, unknown token ids, a mask of other values than 0 and 1, pixel values
            that are not finite, or pictures or videos without the inputs that must come with them.
    """
    check_named(inputs)
    ids = _checked_ids(model, inputs, same_device)
    mask = _checked_mask(model, inputs, ids)
    for name in () if held else hf.TYPES:
        types = inputs.get(name)
        if types is not None and (not isinstance(types, Tensor) or types.shape != ids.shape):
            shape = list(types.shape) if isinstance(types, Tensor) else type(types).__name__
            raise InputError(f"{name} is {shape} but input_ids are {list(ids.shape)}: they must be of one shape")
    length = int(mask.sum(1).max()) + max_new_tokens
    limit = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    if limit and length > limit:
        answer = f" and {max_new_tokens} new ones" if max_new_tokens else ""
        raise PromptError(
            f"the prompt has {length - max_new_tokens} tokens{answer} but the model's context holds {limit}: "
            "shorten it, or give fewer or smaller pictures"
        )
    _check_pictures(model, inputs, ids[:, held:])


def _checked_ids(model: Any, inputs: Mapping[str, Any], same_device: bool) -> Tensor:
    ids = inputs.get("input_ids")
    if isinstance(ids, (list, tuple)):
        raise InputError(
            "input_ids are lists, not one tensor: call the processor with padding=True and return_tensors='pt'"
        )
    if not isinstance(ids, Tensor):
        raise InputError("the inputs hold no input_ids: pass what the processor returned (embeddings alone do not do)")
    if ids.dim() != 2 or ids.is_floating_point() or ids.dtype == torch.bool:
        raise InputError(f"input_ids must be integers [batch, n0], not {ids.dtype} {list(ids.shape)}")
    if ids.numel() == 0:
        raise PromptError("the prompt is empty: there is no token to start from")
    embedding = model.get_input_embeddings().weight
    if same_device and embedding.device.type != "meta" and ids.device != embedding.device:
        raise InputError(
            f"the inputs are on {ids.device}, the model on {embedding.device}: call inputs.to(model.device)"
        )
    vocabulary = len(embedding)
    if int(ids.min()) < 0 or int(ids.max()) >= vocabulary:
        raise InputError(
            f"a token id lies outside the model's vocabulary of {vocabulary}: the processor is another model's"
        )
    return ids


def _checked_mask(model: Any, inputs: Mapping[str, Any], ids: Tensor) -> Tensor:
    """The attention mask, bool `[batch, n0]`, with padding only on the left."""
    mask = inputs.get("attention_mask")
    if mask is None:
        pad = padding_id(model)
        ends = torch.cat([ids[:, :1], ids[:, -1:]], 1)
        if len(ids) > 1 and pad is not None and pad not in end_token_ids(model) and bool((ends == pad).any()):
            raise InputError("the batch is padded but has no attention_mask: pass the one that the processor returned")
        return torch.ones_like(ids, dtype=torch.bool)
    if not isinstance(mask, Tensor) or mask.shape != ids.shape:
        shape = list(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"attention_mask is {shape} but input_ids are {list(ids.shape)}: they must be of one shape")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise InputError(
            "attention_mask holds other values than 0 and 1: pass the processor's own (1 for a token, 0 for padding)"
        )
    mask = mask.bool()
    empty = ~mask.any(1)
    if empty.any():
        raise PromptError(f"prompt {int(empty.nonzero()[0])} is empty: all of it is padding")
    gap = (mask[:, :-1] & ~mask[:, 1:]).any(1)
    if gap.any():
        raise PromptError(
            f"prompt {int(gap.nonzero()[0])} is padded on the right, so the answer would not follow it: "
            "set processor.tokenizer.padding_side = 'left'"
        )
    return mask


def _check_pictures(model: Any, inputs: Mapping[str, Any], ids: Tensor) -> None:
    given = [name for name in PIXELS if inputs.get(name) is not None]
    for name in given:
        pixels = inputs[name]
        if not isinstance(pixels, Tensor) or not pixels.is_floating_point():
            kind = pixels.dtype if isinstance(pixels, Tensor) else type(pixels).__name__
            raise InputError(f"{name} must be a tensor of floats from the processor, not {kind}")
        if not bool(torch.isfinite(pixels).all()):
            raise InputError(f"{name} holds NaN or infinite values: the picture or its normalisation is broken")
    known = placeholder_ids(model)
    count = int(torch.isin(ids, torch.tensor(known, dtype=ids.dtype, device=ids.device)).sum()) if known else 0
    if count and not given:
        raise PromptError(
            f"the prompt holds {count} image placeholders but the inputs no pictures: pass pixel_values as well, "
            "or leave the placeholders out"
        )
    if given and known and not count:
        raise PromptError("pictures are given, but the prompt has no image placeholder: write one for each picture")
    for name in _needed(model, given):
        if inputs.get(name) is None:
            raise InputError(
                f"the inputs lack {name}, without which the pictures are misread: pass all that the processor returned"
            )
        if name.endswith("_thw") and not isinstance(inputs[name], Tensor):
            raise InputError(
                f"{name} is a {type(inputs[name]).__name__}, not a tensor: call the processor with return_tensors='pt'"
            )
    _check_counts(model, inputs, ids, given)


def _needed(model: Any, given: list[str]) -> list[str]:
    """What must come beside pictures and videos, for this family or for any whose forward call takes it."""
    kind = model.config.model_type
    family = families.find(kind)
    names: list[str] = []
    if set(given) - {"pixel_values_videos"}:  # Phi-4 and Video-LLaVA have names of their own for pictures
        names += [*_BESIDE["pixel_values"], *(family.needs if family is not None else ())]
        names += ["image_sizes"] if kind in _SIZED else []
    if "pixel_values_videos" in given:
        names += _BESIDE["pixel_values_videos"]
    taken = inspect.signature(model.forward).parameters  # a release of transformers may not know a name yet
    return [name for name in names if name in taken]


def _check_counts(model: Any, inputs: Mapping[str, Any], ids: Tensor, given: list[str]) -> None:
    """Pictures and videos against the tokens that the prompt holds for them."""
    if not {"pixel_values", "pixel_values_videos"}.issuperset(given):
        return  # families with names of their own for pictures count for themselves
    config = model.config
    for pixels, grid in (("pixel_values", "image_grid_thw"), ("pixel_values_videos", "video_grid_thw")):
        if pixels not in given or not isinstance(inputs.get(grid), Tensor) or inputs[pixels].dim() != 2:
            continue
        patches = int(inputs[grid].prod(-1).sum())
        if patches != len(inputs[pixels]):
            raise InputError(
                f"{grid} counts {patches} patches but {pixels} holds {len(inputs[pixels])}: "
                "they must come from one call of the processor"
            )
    still = expected_image_tokens(config, inputs) if "pixel_values" in given else 0
    moving = expected_video_tokens(config, inputs) if "pixel_values_videos" in given else 0
    if still is None or moving is None:
        return
    expected = {"image": still, "video": moving}
    every, pictures = placeholder_ids(model), placeholder_ids(model, videos=False)
    own = {"image": pictures, "video": [token for token in every if token not in pictures]}
    filmed = bool(torch.isin(ids, torch.tensor(own["video"], dtype=ids.dtype, device=ids.device)).any())
    # a video's token may stand for a picture, and a picture's (in GLM-V) for a frame
    if given == ["pixel_values"] or not filmed:
        own, expected = {"image": every}, {"image": sum(expected.values())}
    for kind, known in own.items():
        count = int(torch.isin(ids, torch.tensor(known, dtype=ids.dtype, device=ids.device)).sum())
        if count == expected[kind]:
            continue
        if kind == "image" and packs_pictures(config) and inputs.get("image_sizes") is None:
            raise InputError(
                "the inputs lack image_sizes, without which padding counts as picture: pass all that the processor "
                "returned"
            )
        shown = "pictures" if kind == "image" else "videos"
        raise PromptError(
            f"the prompt holds {count} {kind} tokens but its {shown} make {expected[kind]}: "
            f"it was cut short, or {shown} and prompt do not belong together"
        )
