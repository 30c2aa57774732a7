"""The saliency of attention rows: the sum over heads of |A * dL/dA|, and its normalisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Recorder = Callable[[slice, Tensor, Tensor], None]
"""Called for each block of rows with its slice, the summed saliency `[B, t, K]` and the rows `[B, H, t, K]`."""
SMALL_ELEMENTS = 2**17
"""Elements of a temporary tensor over a group of heads on a CPU: 512 KiB in float32."""
SQUARED = 1e-15
"""In norms below this some squares may have underflowed in float32."""
TINY = torch.finfo(torch.float32).tiny


def saliency(weights: Tensor, gradient: Tensor) -> Tensor:
    """sum over heads of |A * dL/dA| (paper, Eq. 4): `[..., B, H, t, K]` twice -> `[..., B, t, K]`, not normalised."""
    return sum_of_sizes(weights * gradient)


def unit(rows: Tensor, over: Tensor | None = None) -> Tensor:
    """Rows of saliency, float32 `[..., K]`, each divided by its L2 norm (paper, Eq. 5 row by row).

    A row that is 0 everywhere, or too small for float32, becomes 0: dividing it by its norm would only magnify rounding
    errors.

    Args:
        rows: the rows.
        over: `[..., M]`, the elements over which each row's norm is taken; default the row itself.
    """
    over = rows if over is None else over
    norms: Tensor = over.norm(dim=-1, keepdim=True)
    out = rows / norms.clamp_min(TINY)
    small = norms[..., 0] < SQUARED
    if bool(small.any()):  # computed again, in units of the row's largest element
        largest = over[small].amax(dim=-1, keepdim=True)
        scale = largest.clamp_min(TINY)
        size = (over[small] / scale).norm(dim=-1, keepdim=True).clamp_min(TINY)
        out[small] = (rows[small] / scale / size).masked_fill(largest < TINY, 0)
    return out


def few_heads(x: Tensor) -> list[slice]:
    """Slices over the heads of `[..., H, t, K]`, so that temporaries stay small on a CPU, where touching new memory
    costs more than the arithmetic on it. Small tensors, and those on other devices, are one slice."""
    heads = x.shape[-3]
    step = heads if x.device.type != "cpu" else max(1, SMALL_ELEMENTS * heads // max(1, x.numel()))
    return [slice(first, first + step) for first in range(0, heads, step)]


def sum_of_sizes(x: Tensor) -> Tensor:
    """sum over heads of |x|, `[..., H, t, K]` -> `[..., t, K]`."""
    first, *rest = (x[..., heads, :, :].abs().sum(dim=-3) for heads in few_heads(x))
    for part in rest:
        first += part
    return first
