"""Parts of a cache as the cache of other texts: the prefix that several questions about one picture share."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from lvlm_saliency.hf import caches


def holds_all(cache: Any) -> bool:
    """Whether every layer keeps exactly one column per token, of all tokens, so that any range of columns can be
    copied."""
    return caches.can_take_back(cache) and caches.is_aligned(cache)


def stretch(cache: Any, rows: Tensor, starts: list[int], ends: list[int]) -> Any:
    """A new cache whose row q holds the columns `starts[q]` up to `ends[q]` of sample `rows[q]`, flush right; missing
    columns on the left hold zeros, which a mask has to hide. `cache` is not changed. Where all rows are the same range
    of one sample, its columns are shared, not copied."""
    width = max(end - start for start, end in zip(starts, ends, strict=True))
    alike = len(set(starts)) == len(set(ends)) == 1
    made = copy.copy(cache)
    made.layers = []
    for layer in cache.layers:
        view = copy.copy(layer)
        if view.keys is not None and view.is_initialized:
            view.keys = _taken(view.keys, rows, starts, ends, width, alike)
            view.values = _taken(view.values, rows, starts, ends, width, alike)
            if hasattr(view, "cumulative_length"):
                view.cumulative_length = width
        made.layers.append(view)
    return made


def _taken(states: Tensor, rows: Tensor, starts: list[int], ends: list[int], width: int, alike: bool) -> Tensor:
    if alike:
        part = states[..., starts[0] : ends[0], :]
        if len(set(rows.tolist())) == 1:
            return part[rows[:1]].expand(len(rows), -1, -1, -1)
        return part.index_select(0, rows.to(states.device))
    out = states.new_zeros((len(rows), states.shape[1], width, states.shape[3]))
    for place, (row, start, end) in enumerate(zip(rows.tolist(), starts, ends, strict=True)):
        out[place, :, width - (end - start) :] = states[row, :, start:end]
    return out
