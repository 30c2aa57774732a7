"""The key/value cache of a finished generation, cropped to its prompt for a trace of the same text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.prompts import origin_of
from lvlm_saliency.hf import caches
from lvlm_saliency.model.regions import PIXELS

OF_THE_PROMPT = (*PIXELS, "pixel_attention_mask", "image_attention_mask")
"""Inputs that only the forward pass over the prompt needs."""


def prompt_cache(model: Any, generated: Any, sequences: Tensor, prompt_length: int) -> Any:
    """A cache of the prompt without its last token, cropped from that of a finished generation.

    Args:
        model: the model.
        generated: what `generate` returned; its cache is used where it carries one.
        sequences: int64 `[batch, N]`, the generated ids with their prompt.
        prompt_length: n0.


    Returns:
        A new cache over the same memory (the generation's cache is not changed), or None where there is none to use.
    """
    cache = hf.cache_of(generated)
    if cache is None or hf.is_hybrid(model) or not caches.can_roll_back(cache):
        return None
    if cache.get_seq_length() != sequences.shape[1] - 1 or caches.cache_batch(cache) != len(sequences):
        return None  # the cache belongs to other sequences: several answers per prompt, beams, or a changed text
    origin = origin_of(cache)
    if origin is not None and origin.edited is not None and origin.edited < prompt_length - 1:
        return None  # a method has edited the prompt's own rows
    return caches.shortened(cache, prompt_length - 1)


def without_pixels(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that say where pictures stand, without the pictures: their features are in the cache."""
    return {name: value for name, value in inputs.items() if name not in OF_THE_PROMPT}
