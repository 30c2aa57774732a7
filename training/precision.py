"""The dtype of the training: bfloat16 where the processor has units for it, else float32.

On two cores with AMX a step of the joint phase takes about 0.65 processor seconds in bfloat16 and 1.0 in float32; on
processors that only emulate bfloat16 it takes 13 times as long as in float32.
"""

from __future__ import annotations

import time
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

ATTENTION = "scenes_float32_attention"


@cache
def training_dtype() -> torch.dtype:
    """bfloat16 where this processor multiplies matrices of the model's size at least 1.3 times faster in it."""
    seconds = {dtype: _seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    return torch.bfloat16 if seconds[torch.bfloat16] * 1.3 < seconds[torch.float32] else torch.float32


def _seconds(dtype: torch.dtype, repeats: int = 7) -> float:
    left, right = torch.ones(4096, 160, dtype=dtype), torch.ones(160, 432, dtype=dtype)
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        left @ right
        taken.append(time.perf_counter() - began)
    return min(taken)


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **_: object
) -> tuple[Tensor, None]:
    """Attention in float32 whatever autocast says: torch's bfloat16 kernel is twice as slow backward on a CPU.

    query [B, heads, T, width], key and value [B, key heads, T, width], mask additive [B, 1, T, T] or None; gives
    [B, T, heads, width].
    """
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    with torch.autocast("cpu", enabled=False):
        out = functional.scaled_dot_product_attention(
            query.float(), key.float(), value.float(), attn_mask=None if mask is None else mask.float(), scale=scaling
        )
    return out.transpose(1, 2).contiguous().to(value.dtype), None


AttentionInterface.register(ATTENTION, attend)
