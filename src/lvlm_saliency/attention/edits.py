"""Edits of attention rows, and how two edits are combined."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency.errors import SettingError


@dataclass(frozen=True)
class Temper:
    """A factor on the scores that is itself a function of queries and keys, and its derivatives; each `[B, 1, T, 1]`.

    The exact gradient of a row needs d multiplier / d q = query_slope * q (q: each head's query of the row) and
    d multiplier / d k = key_slope * k (k: the row's own keys).
    """

    multiplier: Tensor
    query_slope: Tensor
    key_slope: Tensor


@dataclass(frozen=True)
class RowEdit:
    """An edit of attention rows; every tensor broadcasts to `[B, H, T, K]`, and None changes nothing.

    score' = temper * multiplier * (score + magnitude * |score|) + bias
    A = softmax(score'), where a `sink` `[B, H, T, 1]` is the logit of an extra key whose value is zero
    A' = gain * A (rows then need not sum to 1)

    Two more edits have no gradient: `head` int64 `[B]` replaces the prompt's rows of all heads by those of that head
    (-1: no change), and `rewrite` is any function of a block of rows after the softmax,
    `(A [B, H, t, K], which keys they see, slice of the query rows) -> A'`.
    """

    multiplier: Tensor | None = None
    bias: Tensor | None = None
    gain: Tensor | None = None
    magnitude: Tensor | None = None
    sink: Tensor | None = None
    temper: Temper | None = None
    head: Tensor | None = None
    rewrite: Callable[[Tensor, Tensor, slice], Tensor] | None = None

    def then(self, other: RowEdit) -> RowEdit:
        """This edit followed by another.

        A bias of this edit is multiplied by the other's multiplier. Magnitude, temper and head always refer to the
        model's own scores, in either order.

        Raises:
            SettingError: both set a head, a temper or a rewrite.
        """
        return RowEdit(
            multiplier=combined(torch.mul, self.multiplier, other.multiplier),
            bias=combined(torch.add, _combine_scaled(self.bias, other.multiplier), other.bias),
            gain=combined(torch.mul, self.gain, other.gain),
            magnitude=combined(torch.add, self.magnitude, other.magnitude),
            sink=combined(torch.logaddexp, self.sink, other.sink),
            temper=_only(self.temper, other.temper, "scale scores by their queries and keys"),
            head=_only(self.head, other.head, "give all heads the rows of one"),
            rewrite=_only(self.rewrite, other.rewrite, "rewrite finished rows"),
        )

    @functools.cached_property
    def additive(self) -> bool:
        """Whether the edit is only a bias, which every backend that takes a float mask can apply."""
        return all(getattr(self, field.name) is None for field in fields(self) if field.name != "bias")

    @property
    def differentiable(self) -> bool:
        """Whether the gradient of the edited rows can be computed."""
        return self.head is None and self.rewrite is None

    def rows(self, block: slice) -> RowEdit:
        """The edit of a block of query rows."""
        parts = {f.name: _edit_rows(getattr(self, f.name), block) for f in fields(self)}
        if (whole := self.rewrite) is not None:
            start = block.start or 0
            parts["rewrite"] = lambda a, seen, rows: whole(a, seen, slice(start + rows.start, start + rows.stop))
        return RowEdit(**parts)


def _edit_rows(part: Any, block: slice) -> Any:
    if isinstance(part, Temper):
        return Temper(*(rows_of(getattr(part, f.name), block) for f in fields(part)))
    return rows_of(part, block) if isinstance(part, Tensor) and part.dim() > 1 else part


def _only(a: Any, b: Any, what: str) -> Any:
    if a is not None and b is not None:
        raise SettingError(f"two methods {what}: they cannot act on the same rows; choose one of them")
    return b if a is None else a


def combined(operation: Callable[[Tensor, Tensor], Tensor], a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """`operation(a, b)`; where one of the two is None, the other."""
    if a is None or b is None:
        return a if b is None else b
    return operation(a, b)


def _combine_scaled(bias: Tensor | None, multiplier: Tensor | None) -> Tensor | None:
    return bias if bias is None or multiplier is None else bias * multiplier


def rows_of(x: Tensor, block: slice) -> Tensor:
    """The rows `block` of a tensor whose second last axis runs over query rows, or has length 1 and holds for all."""
    return x if x.shape[-2] == 1 else x[..., block, :]
