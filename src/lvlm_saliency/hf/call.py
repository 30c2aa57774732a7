"""What the keywords of a decoder's forward call say: its cache, and how many tokens it holds and feeds."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from transformers import Cache, GenerationMixin
from transformers.utils import ModelOutput

from lvlm_saliency.errors import UnsupportedModelError

CACHE_NAMES = ("cache", "past_key_values")
"""What decoders call the key/value cache: transformers 5.24 renamed the second to the first."""


@functools.cache
def _parameters(function: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


_KNOWN = _parameters(GenerationMixin.prepare_inputs_for_generation)
CACHE = next(name for name in CACHE_NAMES if name in _KNOWN)
"""The name that the installed transformers uses, as a keyword and as a field of model outputs."""


def with_cache_named(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords with their cache, if they hold one, under the name that this transformers uses."""
    found = dict(keywords)
    for name in CACHE_NAMES:
        if name != CACHE and found.get(name) is not None and found.get(CACHE) is None:
            found[CACHE] = found.pop(name)
    return found


def cache_of(holder: Any) -> Any:
    """The cache among the keywords of a call, or in what a forward call or a generation returned; None without one."""
    if isinstance(holder, ModelOutput):
        return holder.get(CACHE)
    get = holder.get if isinstance(holder, Mapping) else functools.partial(getattr, holder)
    return next((cache for name in (CACHE, *CACHE_NAMES) if (cache := get(name, None)) is not None), None)


def lengths(decoder: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int, Any]:
    """Of a decoder call: tokens in the cache before it, tokens that come in, and the cache (or None).

    Raises:
        UnsupportedModelError: the call carries no tokens, or a cache under a name or of a kind that is not known here.
            Taken for a call without cache, it would give wrong rows.
    """
    named = {**dict(zip(_parameters(type(decoder).forward)[1:], args, strict=False)), **kwargs} if args else kwargs
    tokens = named.get("inputs_embeds")
    tokens = named.get("input_ids") if tokens is None else tokens
    if tokens is None:
        raise UnsupportedModelError(
            f"{type(decoder).__name__} was called with neither input_ids nor inputs_embeds: "
            "which tokens come in is not known here"
        )
    for name, value in named.items():
        if name not in CACHE_NAMES and (isinstance(value, Cache) or hasattr(value, "get_seq_length")):
            raise UnsupportedModelError(
                f"{type(decoder).__name__} takes its cache as {name!r}, a name that is not known here "
                f"({' or '.join(CACHE_NAMES)}): how many tokens it holds cannot be told"
            )
    cache = cache_of(named)
    if cache is not None and not hasattr(cache, "get_seq_length"):
        raise UnsupportedModelError(
            f"the cache is a {type(cache).__name__}, not a Cache of transformers: leave it out or pass a DynamicCache"
        )
    past = 0 if cache is None else int(cache.get_seq_length())
    return past, tokens.shape[1], cache


def window_of(cache: Any, layer: int, module: Any) -> int | None:
    """Number of latest keys that a layer keeps of a longer text; None where it keeps all. Read from the cache, or from
    the attention module where the layer shares another's keys and has no entry in the cache."""
    if cache is None:
        return None
    layers = getattr(cache, "layers", ())
    own = layers[layer] if layer < len(layers) else None
    if own is None or getattr(own, "keys", None) is None:
        return getattr(module, "sliding_window", None)
    if not getattr(own, "is_sliding", False):
        return None
    return getattr(own, "sliding_window", getattr(own, "max_cache_len", None))


def without_cache(keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords without their cache, and that cache by its name."""
    cache = {name: value for name, value in keywords.items() if name in CACHE_NAMES}
    return {name: value for name, value in keywords.items() if name not in cache}, cache
