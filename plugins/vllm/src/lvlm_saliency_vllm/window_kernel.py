"""`merge.window_attention` and `merge.strengthened` as one Triton kernel, in place, on FlashAttention's output.

One program a row and head. A row whose gain is 0, or whose window is empty, is left alone to the bit. Everything it
reads of the requests lies in two small tensors, so that a CUDA graph can hold it.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

INTS = ("token", "request", "position", "prompt", "window")
FLOATS = ("beta", "renormalised")
STEP = 16
"""Keys that a program takes at once."""


@triton.jit
def _merge_window(
    q,
    keys,
    values,
    out,
    lse,
    table,
    ints,
    floats,
    scale,
    softcap,
    sliding,
    q_token,
    q_head,
    k_block,
    k_slot,
    k_group,
    v_block,
    v_slot,
    v_group,
    o_token,
    o_head,
    lse_head,
    lse_token,
    table_row,
    int_row,
    float_row,
    per_group: tl.constexpr,
    size: tl.constexpr,
    dim: tl.constexpr,
    padded: tl.constexpr,
    step: tl.constexpr,
):
    row, head = tl.program_id(0), tl.program_id(1)
    beta = tl.load(floats + row)
    position = tl.load(ints + 2 * int_row + row)
    first = tl.maximum(tl.load(ints + 3 * int_row + row), position - tl.load(ints + 4 * int_row + row))
    if sliding > 0:
        first = tl.maximum(first, position - sliding + 1)
    if beta > 0 and first < position:
        token = tl.load(ints + row).to(tl.int64)
        pages = table + tl.load(ints + int_row + row).to(tl.int64) * table_row
        group = head // per_group
        d = tl.arange(0, padded)
        real = d < dim
        query = tl.load(q + token * q_token + head * q_head + d, mask=real, other=0.0).to(tl.float32)
        top = float("-inf")
        total = 0.0
        sums = tl.zeros([padded], dtype=tl.float32)
        for start in range(first, position, step):
            j = start + tl.arange(0, step)
            seen = j < position
            page = tl.load(pages + j // size, mask=seen, other=0).to(tl.int64)
            both = seen[:, None] & real[None, :]
            place = page[:, None] * k_block + (j % size)[:, None] * k_slot + group * k_group + d[None, :]
            key = tl.load(keys + place, mask=both, other=0.0).to(tl.float32)
            score = tl.sum(query[None, :] * key, axis=1) * scale
            if softcap > 0:
                score = softcap * (2.0 * tl.sigmoid(2.0 * score / softcap) - 1.0)
            score = tl.where(seen, score, float("-inf"))
            higher = tl.maximum(top, tl.max(score, axis=0))
            kept = tl.exp(top - higher)
            weight = tl.exp(score - higher)
            place = page[:, None] * v_block + (j % size)[:, None] * v_slot + group * v_group + d[None, :]
            value = tl.load(values + place, mask=both, other=0.0).to(tl.float32)
            total = total * kept + tl.sum(weight, axis=0)
            sums = sums * kept + tl.sum(weight[:, None] * value, axis=0)
            top = higher
        o_window = sums / total
        gain = top + tl.log(total) + tl.log(beta) - tl.load(lse + head * lse_head + token * lse_token)
        spot = out + token * o_token + head * o_head + d
        o = tl.load(spot, mask=real, other=0.0).to(tl.float32)
        if tl.load(floats + float_row + row) > 0:
            new = o + tl.sigmoid(gain) * (o_window - o)
        else:
            new = o + tl.exp(gain) * o_window
        tl.store(spot, new.to(out.dtype.element_ty), mask=real)


def merge_window(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    out: Tensor,
    lse: Tensor,
    table: Tensor,
    ints: Tensor,
    floats: Tensor,
    scale: float,
    softcap: float = 0.0,
    sliding: int = 0,
) -> None:
    """Strengthen the windows of some rows of `out`.

    Args:
        q, out: `[T, H, D]`, D contiguous; out holds the rows' ordinary attention, and is written.
        keys, values: `[blocks, block size, G, D]`, D contiguous.
        lse: float32 `[H, T]`, the log-sum-exps of the rows.
        table: int32 `[requests, n]`, block tables.
        ints: int32 `[5, A]`, the rows concerned as `INTS`: number of the query, of the request, P, n0 and w.
        floats: float32 `[2, A]`, `FLOATS`: the gain, 0 where nothing is to be done; above 0 for A' renormalised.
        scale, softcap, sliding: as `merge.window_attention`.
    """
    rows, heads, dim = ints.shape[1], q.shape[1], q.shape[2]
    _merge_window[(rows, heads)](
        q,
        keys,
        values,
        out,
        lse,
        table,
        ints,
        floats,
        scale,
        softcap,
        sliding,
        q.stride(0),
        q.stride(1),
        *keys.stride()[:3],
        *values.stride()[:3],
        out.stride(0),
        out.stride(1),
        lse.stride(0),
        lse.stride(1),
        table.stride(0),
        ints.stride(0),
        floats.stride(0),
        per_group=heads // keys.shape[2],
        size=keys.shape[1],
        dim=dim,
        padded=triton.next_power_of_2(dim),
        step=STEP,
    )
