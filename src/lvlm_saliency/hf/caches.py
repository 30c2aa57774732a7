"""Key/value caches: creating, classifying, cropping and copying them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from lvlm_saliency.errors import SettingError, UnsupportedModelError

COLUMNS = frozenset(
    ["DynamicLayer", "DynamicSlidingWindowLayer", "DynamicIndexedLayer", "MiniMaxM3VLSparseCacheLayer", "DummyLayer"]
)
"""Kinds of cache layers that keep one column per token (keys and values, or the latents that they are made from; some
also the keys of an indexer), or nothing."""
STATES = frozenset(
    [
        "LinearAttentionLayer",
        "LinearAttentionAndFullAttentionLayer",
        "LinearAttentionAndSlidingWindowAttentionLayer",
    ]
)
"""Kinds that keep a state (a recurrence, the window of a convolution), alone or beside columns."""
_ALIGNED = frozenset(["DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer"])
"""Kinds whose columns `shortened` and `realign` know: nothing stands beside the keys and values."""


def new_cache(model: Any) -> DynamicCache:
    """An empty cache of the kinds of layers that the model has."""
    return DynamicCache(config=model.config.get_text_config(decoder=True))


def kinds_of_layers(config: Any) -> list[str]:
    """The kind of each layer of a cache for this configuration of a language model, by name."""
    return [type(layer).__name__ for layer in DynamicCache(config=config).layers]


def can_roll_back(cache: Any) -> bool:
    """Whether tokens can be removed from the cache (not from linear-attention states and static caches)."""
    layers = getattr(cache, "layers", None) or ()
    return (
        bool(layers)
        and not cache.is_compileable
        and all(isinstance(layer, DynamicLayer) or type(layer).__name__ == "DummyLayer" for layer in layers)
    )


def is_aligned(cache: Any) -> bool:
    """Whether `realign` and `shortened` know all that the cache keeps."""
    return all(type(layer).__name__ in _ALIGNED for layer in cache.layers)


def can_take_back(cache: Any) -> bool:
    """Whether any number of tokens can be removed: as `can_roll_back`, and every layer still holds all of them
    unchanged (not if it is quantised or its sliding window is full)."""
    if not can_roll_back(cache):
        return False
    return all(
        not layer.is_initialized
        or layer.keys.shape[-2] == layer.get_seq_length() < getattr(layer, "sliding_window", float("inf"))
        for layer in cache.layers
    )


def allow_rollback(cache: Any) -> None:
    """Make sliding-window layers keep the keys that a later `crop` may need again."""
    for layer in cache.layers:
        if hasattr(layer, "activate_past_recording"):
            layer.activate_past_recording()


def crop(cache: Any, tokens: int) -> None:
    """Remove the last `tokens` tokens.

    Raises:
        UnsupportedModelError: the cache holds fewer tokens than the model was fed.
    """
    if tokens < 0:
        raise UnsupportedModelError(f"the cache lacks {-tokens} tokens that should be in it")
    cache.crop(-tokens)


def realign(cache: Any, before: list[int], after: list[int], length: int) -> None:
    """Move each sample's columns so that those up to column `before[b]` end at column `after[b]`; the cache then has
    `length` columns. Columns that no sample fills hold zeros: a mask has to hide them."""
    held = int(cache.get_seq_length())
    for layer in cache.layers:
        if not layer.is_initialized or layer.keys is None:  # a layer that shares another's keys holds none
            continue
        first = held - layer.keys.shape[-2]  # a sliding layer holds the last columns only
        kept = min(length, layer.sliding_window - 1) if hasattr(layer, "sliding_window") else length
        start = length - kept
        layer.keys = _moved(layer.keys, before, after, first, start, kept)
        layer.values = _moved(layer.values, before, after, first, start, kept)
        if hasattr(layer, "cumulative_length"):
            layer.cumulative_length = length


def _moved(states: Tensor, before: list[int], after: list[int], first: int, start: int, kept: int) -> Tensor:
    # Most samples move by as much; those are moved together, and the others put in their places then.
    steps = [new - old for old, new in zip(before, after, strict=True)]
    most = max(set(steps), key=steps.count)
    shift = first + most - start  # of the columns of `states` within the new ones
    held = states.shape[-2]
    begin, end = max(0, shift), min(kept, shift + held)
    out = states.new_zeros((*states.shape[:2], kept, states.shape[3]))
    if begin < end:
        out[:, :, begin:end] = states[:, :, begin - shift : end - shift]
    for sample, (old, new, step) in enumerate(zip(before, after, steps, strict=True)):
        left = max(start, first - old + new, new - old)
        if step != most:
            out[sample] = 0
            if left < new:
                out[sample, :, left - start : new - start] = states[sample, :, left - new + old - first : old - first]
            continue
        out[sample, :, : max(0, min(left, new) - start)] = 0
        out[sample, :, max(0, new - start) :] = 0
    return out


def slide(cache: Any, steps: list[int], most: int, length: int) -> None:
    """Move each sample's columns `steps[b]` to the right (left where negative); the cache then has `length` columns.
    Most samples move by `most`: that is a view of the same memory, and the others are moved within it. Columns that a
    sample leaves behind keep what they held: a mask has to hide them."""
    held = int(cache.get_seq_length())
    for layer in cache.layers:
        if not layer.is_initialized or layer.keys is None:  # a layer that shares another's keys holds none
            continue
        layer.keys = _slid(layer.keys, steps, most, held, length)
        layer.values = _slid(layer.values, steps, most, held, length)
        if hasattr(layer, "cumulative_length"):
            layer.cumulative_length = length


def _slid(states: Tensor, steps: list[int], most: int, held: int, length: int) -> Tensor:
    if states.shape[-2] != held:
        raise UnsupportedModelError("a layer of the cache does not hold every token, so its samples cannot be moved")
    if most > 0:
        states = torch.nn.functional.pad(states, (0, 0, most, 0))
    out = states[..., max(0, -most) : max(0, -most) + length, :]
    for sample, step in enumerate(steps):
        if step != most:
            begin, end, before = max(0, step), min(length, held + step), max(0, most)
            out[sample, :, begin:end] = states[sample, :, before + begin - step : before + end - step].clone()
    return out


def shortened(cache: Any, length: int) -> Any:
    """A copy of the cache with its first `length` tokens, over the same memory; None where a layer dropped some.

    A sliding-window layer no longer holds tokens before its window, and layers with more than keys and values (the keys
    of an indexer) are not supported.
    """
    if not is_aligned(cache):
        return None
    copied = copy.copy(cache)
    copied.layers = []
    for layer in cache.layers:
        view = copy.copy(layer)
        if view.keys is None:
            copied.layers.append(view)
            continue
        if view.keys.shape[-2] != view.get_seq_length():
            return None
        view.keys, view.values = view.keys[..., :length, :], view.values[..., :length, :]
        if hasattr(view, "cumulative_length"):
            view.cumulative_length = length
        copied.layers.append(view)
    return copied


def cache_batch(cache: Any) -> int:
    """The number of samples that the cache holds."""
    return next(layer.keys.shape[0] for layer in cache.layers if getattr(layer, "keys", None) is not None)


def forkable(cache: Any) -> Any:
    """The cache, checked to be one that `forked_cache` can fork.

    Raises:
        SettingError: a cache that writes into its tensors in place, or keeps them elsewhere.
    """
    if not isinstance(cache, DynamicCache) or getattr(cache, "offloading", False):
        kind = "no cache (use_cache=False)" if cache is None else type(cache).__name__
        raise SettingError(f"beams fork the key/value cache, which {kind} does not allow: leave the cache settings out")
    return cache


def forked_cache(cache: Any, rows: Tensor) -> Any:
    """A new cache with these rows (repeats allowed) of `cache`, which is not changed."""
    fork = copy.copy(cache)
    fork.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in fork.layers:  # recurrent states stand in dictionaries, which a shallow copy would share
        vars(layer).update({name: dict(value) for name, value in vars(layer).items() if isinstance(value, dict)})
    fork.reorder_cache(rows)
    return fork
