"""Attention with the model's own forward pass and a backward pass of ours, which is exact for each row.

The backward pass recomputes the probabilities of the rows that carry a gradient, in blocks, and lets gradient flow only
into a token's own query, key and value. The loss of a token depends on its own row only through that token's own
residual stream, so every row gets its exact gradient in one backward pass over many tokens (docs/method.md). Shapes as
in `attention.rows`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lvlm_saliency.attention.edits import Temper
from lvlm_saliency.attention.rows import Rows
from lvlm_saliency.attention.saliency import Recorder, few_heads, sum_of_sizes


class RowAttention(torch.autograd.Function):
    """Attention whose output comes from the model's own backend and whose backward pass is exact for each row.

    Inputs: query `[B, H, T, D]` and the T new keys and values `[B, G, T, D]`, which receive gradient; an `anchor`
    scalar that starts the graph where no input needs a gradient; the `Rows`; the output that the backend computed,
    `[B, T, H, Dv]`; the first row that may carry gradient; an optional recorder.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        new_key: Tensor,
        new_value: Tensor,
        anchor: Tensor | None,
        rows: Rows,
        output: Tensor,
        first: int,
        record: Recorder | None,
    ) -> Tensor:
        ctx.rows, ctx.first, ctx.record = rows, first, record
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, first, record = ctx.rows, ctx.first, ctx.record
        gradient = gradient.transpose(-2, -3)  # [B, H, T, Dv]
        needs_input = ctx.needs_input_grad[0]
        parts = [_block_gradients(rows, block, gradient, needs_input, record) for block in rows.blocks(first)]
        if not needs_input:  # the lowest target layer: its rows are recorded, and no layer below needs a gradient
            return None, None, None, gradient.new_zeros(()), None, None, None, None
        grads = parts[0] if len(parts) == 1 else [torch.cat(pieces, dim=-2) for pieces in zip(*parts, strict=True)]
        if first:
            grads = [torch.nn.functional.pad(g, (0, 0, first, 0)) for g in grads]
        return *grads, None, None, None, None, None


def _block_gradients(
    rows: Rows, block: slice, gradient: Tensor, needs_input: bool, record: Recorder | None
) -> tuple[Tensor, ...]:
    """Gradients of a block's query rows and of those rows' own keys and values, `[..., t, D]` each."""
    gradient = gradient[..., block, :]
    probabilities, slope = rows.probabilities(block)
    gain = rows.gain(block)
    weights = probabilities if gain is None else probabilities * gain
    # In place where possible: touching new memory costs more than the arithmetic on it. weights * gradient is also
    # probability * its gradient, since a gain moves from one factor to the other.
    product = rows.weight_gradient(gradient).mul_(weights)
    if record is not None:
        record(block, sum_of_sizes(product), weights)
    if not needs_input:
        return ()
    count = block.stop - block.start
    d_scores, sums = product, product.sum(-1, keepdim=True)
    for heads in few_heads(product):
        d_scores[..., heads, :, :].sub_(probabilities[..., heads, :, :] * sums[..., heads, :, :])
    temper = None if rows.edit is None or rows.edit.temper is None else rows.edit.rows(block).temper
    d_temper = None if temper is None else _temper_gradient(rows, block, d_scores, temper)
    if slope is not None:
        d_scores = d_scores * slope
    d_scores = d_scores.mul_(rows.scale)
    d_query = rows.ungrouped(rows.grouped(d_scores.to(rows.key.dtype)) @ rows.key, count)
    diagonal = {"offset": rows.own + block.start, "dim1": -2, "dim2": -1}
    own_score = torch.diagonal(d_scores, **diagonal).unsqueeze(-1)  # [..., B, H, t, 1]
    own_weight = torch.diagonal(weights, **diagonal).unsqueeze(-1)
    d_key = _sum_group(own_score * rows.query[:, :, block].float(), rows.groups).to(rows.key.dtype)
    d_value = _sum_group(own_weight * gradient.float(), rows.groups).to(rows.value.dtype)
    if temper is not None and d_temper is not None:
        own_keys = rows.key[:, :, rows.own + block.start : rows.own + block.stop]
        d_query = d_query + (d_temper * temper.query_slope * rows.query[:, :, block]).to(d_query.dtype)
        d_key = d_key + (d_temper * temper.key_slope * own_keys).to(d_key.dtype)
    return d_query, d_key, d_value


def _temper_gradient(rows: Rows, block: slice, d_scores: Tensor, temper: Temper) -> Tensor:
    """dL/d(temper's multiplier) `[..., B, 1, t, 1]`: the scores are proportional to it, and all heads share it."""
    scores, _ = rows.scores(block)
    return (d_scores * scores).sum(dim=(-3, -1)).unsqueeze(-2).unsqueeze(-1) / temper.multiplier


def _sum_group(x: Tensor, groups: int) -> Tensor:
    """`[..., B, H, t, D]` -> `[..., B, G, t, D]`: gradients of the query heads that share a key/value head, added."""
    *lead, heads, rows, width = x.shape
    return x if heads == groups else x.reshape(*lead, groups, heads // groups, rows, width).sum(dim=-3)
