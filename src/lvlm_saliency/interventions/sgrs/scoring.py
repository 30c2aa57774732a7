"""S of tokens: the mean saliency of their rows over the output so far (arXiv 2601.20279, Eq. 6)."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import cast

import torch
from torch import Tensor

from lvlm_saliency.attention.saliency import Recorder, saliency, unit
from lvlm_saliency.attention.state import Capture, RowContext
from lvlm_saliency.tracing.logits import finite_logits, loss_gradient


class OutputScores:
    """S of one token per query row of a forward call, summed over the layers during the backward pass."""

    def __init__(self, layers: Sequence[int]):
        self.layers = list(layers)
        self.found: dict[Hashable, list[tuple[slice, Tensor, RowContext]]] | None = None

    def capture(self) -> Capture:
        """What the forward call has to keep."""
        return Capture(frozenset(self.layers), recorder=self._recorder)

    def _recorder(self, _layer: int, context: RowContext) -> Recorder:
        def record(block: slice, row_saliency: Tensor, _rows: Tensor) -> None:
            if self.found is not None:  # a later backward pass over the same graph must not add to it
                alike = block.start, block.stop, context.offset, context.keys, context.device
                self.found.setdefault(alike, []).append((block, row_saliency, context))

        return record

    def of(self, logits: Tensor, tokens: Tensor, capture: Capture, *, keep_graph: bool = False) -> Tensor:
        """S of `tokens`, int64 `[B, t]`, from one backward pass.

        Args:
            logits: raw `[B, t, V]` of the last t rows of the captured call, in its graph.
            tokens: int64 `[B, t]`.
            capture: of that call.
            keep_graph: whether another backward pass will follow.

        Returns:
            float32 `[B, rows]` on the CPU, for all rows of the call; only the last t are meaningful.
        """
        gradient = loss_gradient(finite_logits(logits.detach()), tokens.to(logits.device))
        self.found = {}
        anchor = cast(Tensor, capture.anchor)  # set by the lowest captured layer
        torch.autograd.grad(logits, anchor, gradient.to(logits.dtype), retain_graph=keep_graph)
        found, self.found = self.found.values(), None
        total = torch.zeros(len(logits), max(group[0][0].stop for group in found))
        for group in found:  # layers with the same keys are scored together
            block, _, context = group[0]
            scores = output_score(torch.stack([row_saliency for _, row_saliency, _ in group]), context, block)
            for score in scores.cpu():
                total[:, block] += score
        return total / len(self.layers)


def candidate_scores(
    logits: Tensor, candidates: Tensor, capture: Capture, layers: Sequence[int], *, keep_graph: bool = False
) -> Tensor:
    """S(c) of every candidate (Eq. 6), from one batched vector-Jacobian product over the step's graph.

    The candidates share the row; only the gradient at the logits differs, q_c - onehot(c) up to a factor that the row's
    normalisation cancels.

    Args:
        logits: raw `[B, 1, V]`.
        candidates: int64 `[B, K]`.
        capture: of the forward call.
        layers: decoder layer numbers.
        keep_graph: whether another backward pass will follow.

    Returns:
        float32 `[B, K]` on the CPU.
    """
    plain = logits.detach().float()[:, -1]
    columns = candidates.to(plain.device).unbind(1)
    seeds = torch.stack([loss_gradient(plain, column) for column in columns])[:, :, None].to(logits.dtype)
    outputs = [capture.outputs[layer] for layer in layers]

    def product(seed: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(logits, outputs, seed, retain_graph=keep_graph or len(columns) > 1)

    if len(columns) == 1:
        gradients = tuple(gradient[None] for gradient in product(seeds[0]))
    else:
        with warnings.catch_warnings():  # mixture-of-experts layers have no vmap rule: torch loops over them and warns
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            gradients = torch.func.vmap(product)(seeds)
    total = torch.zeros(candidates.shape)
    for layer, gradient in zip(layers, gradients, strict=True):
        rows, context = capture.rows[layer], capture.contexts[layer]
        newest = slice(context.new - 1, context.new)  # without a cache the call also computes the older rows
        weights = rows.weights(newest)
        row = saliency(weights, rows.weight_gradient(gradient.transpose(-2, -3)[..., newest, :]))  # [K, B, 1, keys]
        total += output_score(row, context, newest)[..., 0].T.cpu()
    return total / len(layers)


def output_score(row: Tensor, context: RowContext, block: slice) -> Tensor:
    """score(l, output) of query rows, from their summed saliency: unit L2 norm, then the mean over the output so far.

    The mean runs over every output position up to the query, also those that a sliding window no longer sees.

    Args:
        row: float32 `[..., t, keys]`, not normalised.
        context: of the forward call.
        block: which of the call's query rows they are.

    Returns:
        `[..., t]`; NaN for a row without output before it.
    """
    row = unit(row)
    if context.shift is None:
        first = max(0, context.prompt_length - context.offset)
        lengths = context.query_positions[block] + 1 - context.prompt_length
        return row[..., first:].sum(-1) / lengths  # keys to the right of a query have saliency 0
    starts = context.prompt_length + context.shift[:, None]  # [B, 1]
    output = context.key_positions >= starts
    lengths = (context.query_positions[block] + 1 - starts).clamp_min(1)  # below 1 only for finished samples
    return (row * output[:, None]).sum(-1) / lengths
