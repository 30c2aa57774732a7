"""Positions that a model counts by itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from lvlm_saliency.errors import UnsupportedModelError


@contextmanager
def offsets_kept(model: Any) -> Iterator[None]:
    """At the end of the block, restore the position offsets that m-RoPE families keep from their last prompt."""
    inner = getattr(model, "model", None)
    before = getattr(inner, "rope_deltas", None)
    try:
        yield
    finally:
        if inner is not None and hasattr(inner, "rope_deltas"):
            inner.rope_deltas = before


def counted_positions(model: Any, columns: Tensor) -> Tensor:
    """The position ids of tokens whose places are `columns` `[B, n]`, for a model whose `generate` leaves them out: it
    counts the columns of its cache (EXAONE 4.5 does), of which padding behind a prompt would take some.

    Raises:
        UnsupportedModelError: it adds offsets of its own to what it counts.
    """
    if _adds_offsets(type(model).forward) or _adds_offsets(type(getattr(model, "model", model)).forward):
        raise UnsupportedModelError(
            f"{type(model).__name__} counts its positions by itself, which texts of different lengths in one cache "
            "would mislead: give it one sample at a time"
        )
    return columns


@functools.cache
def _adds_offsets(forward: Callable[..., Any]) -> bool:
    """Whether a class's forward call adds the offsets that m-RoPE families keep from their last prompt."""
    return "rope_deltas" in inspect.getsource(forward)
