"""What methods may do to attention rows, and how two such edits become one."""

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
    """A factor on the scores that is itself a function of queries and keys, with its slopes; each `[B, 1, T, 1]`.

    d multiplier / d q = query_slope * q for each head's query of the row, d multiplier / d k = key_slope * k for the
    row's own keys: what the exact gradient of a row needs.
    """

    multiplier: Tensor
    query_slope: Tensor
    key_slope: Tensor


@dataclass(frozen=True)
class RowEdit:
    """What methods do to attention rows; every tensor broadcasts to `[B, H, T, K]`, `None` leaves that place alone.

    score' = temper * multiplier * (score + magnitude * |score|) + bias
    A = softmax(score'), where a `sink` `[B, H, T, 1]` is the logit of a key that takes probability and gives nothing
    A' = gain * A (rows need not sum to 1 any more)

    Two edits that a gradient never crosses: `head` int64 `[B]` gives all heads of the prompt's rows the row of that
    head (-1: each keeps its own), and `rewrite` makes any function of a block of finished rows,
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
        """Both edits, this one first; a bias that came first is multiplied by a later multiplier. A magnitude, a temper
        and a head are read off the model's own scores, in whichever order they come.

        Raises:
            SettingError: both choose a head, a temper or a rewrite, of which there is one.
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
        """True when the edit is a bias only, which every backend that takes a float mask can apply."""
        return all(getattr(self, field.name) is None for field in fields(self) if field.name != "bias")

    @property
    def differentiable(self) -> bool:
        """Whether the gradient of edited rows is known."""
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
    """`operation(a, b)`, or the one that is there."""
    if a is None or b is None:
        return a if b is None else b
    return operation(a, b)


def _combine_scaled(bias: Tensor | None, multiplier: Tensor | None) -> Tensor | None:
    return bias if bias is None or multiplier is None else bias * multiplier


def rows_of(x: Tensor, block: slice) -> Tensor:
    """The rows `block` of a tensor whose second last axis runs over query rows, or is 1 for all of them alike."""
    return x if x.shape[-2] == 1 else x[..., block, :]
