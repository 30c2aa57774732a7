"""Attention rows: their scores, probabilities and weights, computed in blocks.

A *row* is the attention of one query position over all keys. Shapes: `B` samples, `H` query heads in `G` groups of
`H/G` heads (`G` key/value heads), `T` query rows, `K` keys, `D` head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lvlm_saliency.attention.edits import RowEdit, combined, rows_of

BLOCK_ELEMENTS = 2**24
"""Upper bound of `B * H * rows * K` in one block: 64 MiB per float32 temporary."""
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
