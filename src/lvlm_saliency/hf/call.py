"""One forward call of a decoder, as its keywords tell of it."""

from __future__ import annotations

from typing import Any


def lengths(args: tuple, kwargs: dict) -> tuple[int, int, Any]:
    """Of a decoder call: tokens in the cache before it, tokens that come in, and the cache (or None)."""
    tokens = kwargs.get("inputs_embeds")
    if tokens is None:
        tokens = kwargs.get("input_ids", args[0] if args else None)
    cache = kwargs.get("past_key_values")
    past = 0 if cache is None else int(cache.get_seq_length())
    return past, tokens.shape[1], cache
