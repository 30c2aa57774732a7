"""Attention rows and their exact gradients.

A *row* is the attention of one query position over all keys. Shapes: `B` samples, `H` query heads in `G` groups of
`H/G` heads (`G` key/value heads), `T` query rows, `K` keys, `D` head width.

The forward pass is that of the model's own backend. The backward pass is ours: it recomputes the probabilities of the
rows that carry a gradient, in blocks, and lets gradient flow only into a token's own query, key and value. The loss of
a token depends on its own row only through that token's own residual stream, so this gives every row its exact gradient
in one backward pass over many tokens (docs/method.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency.attention.edits import RowEdit, Temper, combined, rows_of

BLOCK_ELEMENTS = 2**24
"""Upper bound of `B * H * rows * K` in one block: 64 MiB per float32 temporary."""
SMALL_ELEMENTS = 2**17
"""Elements of a temporary tensor over a group of heads on a CPU: 512 KiB in float32."""
NO_EDIT = RowEdit()


@dataclass
class Rows:
    """One layer's attention call; its tensors carry no gradient.

    Attributes:
        query: `[B, H, T, D]` as the layer passed it.
        key: `[B, G, K, D]`, not repeated over the heads of a group.
        value: `[B, G, K, Dv]`, likewise.
        mask: bool (True = visible) or additive, `[B, 1 or H, T, K]`, or None.
        scaling: factor on q . k.
        own: column of the key of query row 0's own token; that of row t is `own + t`.
        softcap: scores become softcap * tanh(score / softcap); None for none.
        sinks: `[H]`, per-head logits that take probability from every row.
        edit: the edit of the methods, or None.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scale: float
    own: int
    softcap: float | None = None
    sinks: Tensor | None = None
    edit: RowEdit | None = None

    @property
    def groups(self) -> int:
        return self.key.shape[1]

    def grouped(self, x: Tensor) -> Tensor:
        """`[..., B, H, T, D]` -> `[..., B, G, (H/G) * T, D]`: the rows of heads that share a key, one after another."""
        *lead, heads, rows, width = x.shape
        return x.reshape(*lead, self.groups, heads // self.groups * rows, width)

    def ungrouped(self, x: Tensor, rows: int) -> Tensor:
        """The inverse of `grouped` for a block of `rows` rows."""
        *lead, _, _, width = x.shape
        return x.reshape(*lead, self.query.shape[1], rows, width)

    def blocks(self, start: int = 0) -> Iterator[slice]:
        """Slices over the query rows from `start` on, each small enough for `BLOCK_ELEMENTS`."""
        batch, heads, rows, _ = self.query.shape
        step = max(1, BLOCK_ELEMENTS // max(1, batch * heads * self.key.shape[2]))
        for first in range(start, rows, step):
            yield slice(first, min(first + step, rows))

    def scores(self, block: slice) -> tuple[Tensor, Tensor | None]:
        """Edited scores `[B, H, t, K]` in float32 before bias and mask, and d(score)/d(scaled dot product) or None."""
        query = self.query[:, :, block]
        scores = self.grouped(query) @ self.key.transpose(-1, -2)
        scores = self.ungrouped(scores, query.shape[2]).float().mul_(self.scale)
        slope = None
        if self.softcap is not None:
            bounded = torch.tanh(scores / self.softcap)
            scores, slope = bounded * self.softcap, 1 - bounded**2
        edit = NO_EDIT if self.edit is None else self.edit.rows(block)
        if edit.magnitude is not None:
            sized = 1 + edit.magnitude * scores.sign()
            scores, slope = scores * sized, sized if slope is None else slope * sized
        for factor in (edit.multiplier, None if edit.temper is None else edit.temper.multiplier):
            if factor is not None:
                scores, slope = scores * factor, factor if slope is None else slope * factor
        return scores, slope

    def visible(self, block: slice) -> Tensor | None:
        """Which keys each row sees, bool `[B or 1, 1 or H, t, K]`; None for all."""
        if self.mask is None:
            return None
        mask = rows_of(self.mask, block)
        # An additive mask holds 0 for what is seen and the dtype's minimum (or -inf) for what is not.
        return mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2

    def probabilities(self, block: slice) -> tuple[Tensor, Tensor | None]:
        """Post-softmax rows `[B, H, t, K]` in float32, before any gain, and d(score)/d(scaled dot product) or None."""
        scores, slope = self.scores(block)
        edit = NO_EDIT if self.edit is None else self.edit.rows(block)
        if edit.bias is not None:
            scores = scores + edit.bias
        if self.mask is not None:
            mask = rows_of(self.mask, block)
            if mask.dtype == torch.bool:
                scores = scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
            else:
                scores = scores + mask
        sinks = None if self.sinks is None else self.sinks.float().reshape(1, -1, 1, 1)
        sinks = combined(torch.logaddexp, sinks, edit.sink)
        if sinks is None:
            return torch.softmax(scores, dim=-1), slope
        sinks = sinks.expand(*scores.shape[:-1], 1)
        return torch.softmax(torch.cat([scores, sinks], dim=-1), dim=-1)[..., :-1], slope

    def part(self, block: slice) -> Rows:
        """The query rows of `block` alone."""
        edit = None if self.edit is None else self.edit.rows(block)
        mask = None if self.mask is None else rows_of(self.mask, block)
        return replace(self, query=self.query[:, :, block], mask=mask, own=self.own + (block.start or 0), edit=edit)

    def weights_of(self, samples: Tensor) -> Tensor:
        """The rows `[S, H, T, K]` of these samples of the batch, as `weights` gives them."""
        whole = slice(0, self.query.shape[2])
        if self.edit is not None:  # its parts may be of one sample, or of all
            return self.weights(whole)[samples]
        mask = self.mask if self.mask is None or len(self.mask) == 1 else self.mask[samples]
        return replace(self, query=self.query[samples], key=self.key[samples], mask=mask).weights(whole)

    def with_one_head(self, head: Tensor) -> Rows:
        """The same rows where every head has the query and keys of head number `head` `[B]` (-1: its own); each keeps
        its own values."""
        batch, heads = self.query.shape[:2]
        own = torch.arange(heads, device=head.device).expand(batch, heads)
        chosen = torch.where(head[:, None] < 0, own, head[:, None])
        samples = torch.arange(batch, device=head.device)[:, None]
        repeat = heads // self.groups
        return replace(
            self,
            query=self.query[samples, chosen],
            key=self.key[samples, chosen // repeat],
            value=self.value.repeat_interleave(repeat, dim=1),
        )

    def gain(self, block: slice) -> Tensor | None:
        """The edit's post-softmax factor for a block of rows."""
        return None if self.edit is None or self.edit.gain is None else rows_of(self.edit.gain, block)

    def weights(self, block: slice) -> Tensor:
        """The rows `[B, H, t, K]` that multiply the values, float32: probabilities after gain and rewrite."""
        weights, _ = self.probabilities(block)
        gain = self.gain(block)
        weights = weights if gain is None else weights * gain
        if self.edit is None or self.edit.rewrite is None:
            return weights
        visible = self.visible(block)
        visible = torch.ones_like(weights, dtype=torch.bool) if visible is None else visible
        return self.edit.rewrite(weights, visible, block)

    def output(self) -> Tensor:
        """The layer's attention output `[B, T, H, Dv]` with the edit applied, in the query's dtype."""
        parts = []
        for block in self.blocks():
            weights = self.weights(block).to(self.value.dtype)
            parts.append(self.ungrouped(self.grouped(weights) @ self.value, weights.shape[2]))
        return torch.cat(parts, dim=2).transpose(1, 2).contiguous()

    def weight_gradient(self, gradient: Tensor) -> Tensor:
        """dL/dA `[..., B, H, t, K]` in float32 from the gradient at the output `[..., B, H, t, Dv]`: g . v."""
        rows = gradient.shape[-2]
        return self.ungrouped(self.grouped(gradient) @ self.value.transpose(-1, -2), rows).float()


def saliency(weights: Tensor, gradient: Tensor) -> Tensor:
    """sum over heads of |A * dL/dA| (paper, Eq. 4): `[..., B, H, t, K]` twice -> `[..., B, t, K]`, not normalised."""
    return _sum_of_sizes(weights * gradient)


SQUARED = 1e-15
"""In norms below this some squares may have underflowed in float32."""
TINY = torch.finfo(torch.float32).tiny


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


Recorder = Callable[[slice, Tensor, Tensor], None]
"""Called for each block of rows with its slice, the summed saliency `[B, t, K]` and the rows `[B, H, t, K]`."""


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
        record(block, _sum_of_sizes(product), weights)
    if not needs_input:
        return ()
    count = block.stop - block.start
    d_scores, sums = product, product.sum(-1, keepdim=True)
    for heads in _few_heads(product):
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


def _few_heads(x: Tensor) -> list[slice]:
    """Slices over the heads of `[..., H, t, K]`, so that temporaries stay small on a CPU, where touching new memory
    costs more than the arithmetic on it. Small tensors, and those on other devices, are one slice."""
    heads = x.shape[-3]
    step = heads if x.device.type != "cpu" else max(1, SMALL_ELEMENTS * heads // max(1, x.numel()))
    return [slice(first, first + step) for first in range(0, heads, step)]


def _sum_of_sizes(x: Tensor) -> Tensor:
    """sum over heads of |x|, `[..., H, t, K]` -> `[..., t, K]`."""
    first, *rest = (x[..., heads, :, :].abs().sum(dim=-3) for heads in _few_heads(x))
    for part in rest:
        first += part
    return first


def _temper_gradient(rows: Rows, block: slice, d_scores: Tensor, temper: Temper) -> Tensor:
    """dL/d(temper's multiplier) `[..., B, 1, t, 1]`: the scores are proportional to it, and all heads share it."""
    scores, _ = rows.scores(block)
    return (d_scores * scores).sum(dim=(-3, -1)).unsqueeze(-2).unsqueeze(-1) / temper.multiplier


def _sum_group(x: Tensor, groups: int) -> Tensor:
    """`[..., B, H, t, D]` -> `[..., B, G, t, D]`: gradients of the query heads that share a key/value head, added."""
    *lead, heads, rows, width = x.shape
    return x if heads == groups else x.reshape(*lead, groups, heads // groups, rows, width).sum(dim=-3)
