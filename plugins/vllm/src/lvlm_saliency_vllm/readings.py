"""What is read from the attention row that predicts a token, and where the readings of a text are kept. torch alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

REGIONS = ("system", "image", "prompt", "output")
"""Who owns a position: what stands before the first image token; image tokens; the rest of the prompt (all of it where
there is no image); generated tokens."""

READ = (*REGIONS, "previous", "image entropy", "image largest")
"""The numbers of one layer's row, each from the head-mean of its weights: their sum over each region; the weight of the
row's own position where that is a generated token (NaN for the first token); over the image, the entropy of their
shares as a part of its maximum (0 to 1) and the largest share (NaN without an image)."""

KEPT = 4096
"""Texts whose readings wait to be taken; beyond that the oldest are dropped."""


def owners(prompt_ids: Tensor, placeholders: Sequence[int]) -> Tensor:
    """The region of each position of a prompt, int8 `[n0]`, as numbers of `REGIONS`."""
    image = torch.isin(prompt_ids, torch.tensor(placeholders, dtype=prompt_ids.dtype, device=prompt_ids.device))
    system = (image.cumsum(0) == 0) & image.any()
    return torch.where(image, 1, torch.where(system, 0, 2)).to(torch.int8)


def read_row(weights: Tensor, owner: Tensor, prompt: int) -> Tensor:
    """The numbers `READ` of one row.

    Args:
        weights: float32 `[K]`, head-mean weights over keys 0 .. K - 1, the row's own position last.
        owner: int8 `[n0]`, regions of the prompt's positions.
        prompt: n0.

    Returns:
        float32 `[len(READ)]`.
    """
    head, tail = weights[:prompt], weights[prompt:]
    owner = owner[: len(head)]
    nan = weights.new_full((), float("nan"))
    sums = [torch.where(owner == code, head, 0.0).sum() for code in range(3)]
    own = weights[-1] if len(weights) > prompt else nan
    image = owner == 1
    share = torch.where(image, head, 0.0) / sums[1]  # without an image 0 / 0: NaN, no value
    spread = -torch.special.xlogy(share, share).sum() / torch.log(image.sum().float())
    return torch.stack([*sums, tail.sum(), own, spread, share.amax()])


@dataclass
class Pending:
    """The row of one token whose logits are not there yet.

    owner: int8 `[n0]`, regions of the prompt's positions; weights: by layer, float32 `[K]`, head-mean; layers: what is
    read of them, once they are whole (`read_rows`).
    """

    key: str
    token: int
    owner: Tensor
    weights: dict[int, Tensor] = field(default_factory=dict)
    layers: dict[int, Tensor] = field(default_factory=dict)


EVENLY = 1024
"""Rows are shared in a tensor of a multiple of this many numbers, which every kind of sum over ranks can cut up."""


def read_rows(waiting: Sequence[Pending], mean_over_ranks: Callable[[Tensor], Tensor] | None = None) -> None:
    """Read the rows of a pass, of which each rank of a tensor-parallel engine has the mean over its own heads.

    Args:
        waiting: the rows, in the same order on every rank.
        mean_over_ranks: of a float32 tensor `[n]`, the same number on every rank; None where this rank has all heads.
    """
    if mean_over_ranks is not None:
        parts = [weights for one in waiting for weights in one.weights.values()]
        if not parts:
            return
        flat = torch.cat(parts)
        flat = mean_over_ranks(torch.nn.functional.pad(flat, (0, -len(flat) % EVENLY)))
        whole = iter(flat[: sum(map(len, parts))].split([len(part) for part in parts]))
        for one in waiting:
            one.weights = {number: next(whole) for number in one.weights}
    for one in waiting:
        one.layers = {number: read_row(weights, one.owner, len(one.owner)) for number, weights in one.weights.items()}


@dataclass
class Text:
    """The readings of one text so far. regions: how many positions of the prompt each region but the output has."""

    prompt: int
    regions: list[int]
    layers: list[int] = field(default_factory=list)
    rows: list[Tensor] = field(default_factory=list)
    entropy: list[Tensor] = field(default_factory=list)
    fault: str = ""


class Store:
    """The readings of the texts of one worker, by the name that each request gave."""

    def __init__(self, kept: int = KEPT):
        self.kept = kept
        self.texts: OrderedDict[str, Text] = OrderedDict()

    def begin(self, key: str, owner: Tensor) -> None:
        """A new request with this name. A name that waits to be taken, or is being written, may not come twice."""
        if key in self.texts:
            self.texts[key].fault = f"two requests were named {key!r}: give each a name of its own"
            return
        while len(self.texts) >= self.kept:
            self.texts.popitem(last=False)
        counts = torch.bincount(owner.long(), minlength=3).tolist()
        self.texts[key] = Text(len(owner), counts)

    def add(self, pending: Pending, entropy: Tensor) -> None:
        """A token's row is complete. entropy: float32 `[]`, nats, NaN where the logits are not the model's own."""
        text = self.texts.get(pending.key)
        if text is None or text.fault:
            return
        layers = sorted(pending.layers)
        if pending.token > len(text.rows) or (text.rows and layers != text.layers):
            text.fault = f"rows of token {len(text.rows)} are missing: another part of the engine wrote it"
            return
        # A token that is written again (its keys were lost) has the rows of its last writing.
        del text.rows[pending.token :], text.entropy[pending.token :]
        text.layers = layers
        text.rows.append(torch.stack([pending.layers[layer] for layer in layers]))
        text.entropy.append(entropy)

    def read(self, key: str, start: int = 0) -> dict[str, Any]:
        """The readings of the tokens from `start` on, as plain numbers (None for NaN), fit for any wire."""
        text = self.texts.get(key)
        if text is None:
            return {"fault": f"nothing is kept under {key!r}: it was taken, or dropped for newer ones"}
        if text.fault:
            return {"fault": text.fault}
        rows = torch.stack(text.rows[start:]).cpu() if text.rows[start:] else torch.zeros(0, 0, len(READ))
        entropy = torch.stack(text.entropy[start:]).cpu().tolist() if text.entropy[start:] else []
        return {
            "prompt": text.prompt,
            "regions": text.regions,
            "layers": text.layers,
            "start": start,
            "rows": [[[plain(one) for one in layer] for layer in token] for token in rows.tolist()],
            "entropy": [plain(one) for one in entropy],
        }

    def take(self, key: str, start: int = 0) -> dict[str, Any]:
        """`read`, and forget them."""
        found = self.read(key, start)
        self.texts.pop(key, None)
        return found


def plain(number: float) -> float | None:
    """The number, None where it is NaN: JSON has no NaN."""
    return None if number != number else number


def entropy_of(logits: Tensor) -> Tensor:
    """Entropy of the distribution of logits `[..., V]`, float32 `[...]`, in nats."""
    log_p = torch.log_softmax(logits.float(), -1)
    return -(log_p.exp() * log_p.masked_fill(log_p == float("-inf"), 0)).sum(-1)
