"""The definition of a row, made by transformers' own eager attention and autograd alone.

Nothing here goes through the attention function of this package: a check that compared it with itself would prove
nothing. For each generated token, the model reads everything before it in one pass without a cache, its eager attention
gives back its maps, and one backward pass of that token's loss goes to them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.errors import UnsupportedModelError


class NoMapsError(UnsupportedModelError):
    """The model gives no attention maps to differentiate by, so that there is nothing to compare with."""


def reference_rows(model: Any, inputs: dict[str, Any], sequences: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and head-mean attention of one unpadded sample, float64 `[layers with attention, T, N - 1]` on the CPU.

    Args:
        inputs: the prompt's; sequences: int64 `[1, n0 + T]`, prompt included.

    Raises:
        NoMapsError: the family returns no maps, or not one for each layer, or none that its result depends on.
    """
    n0 = inputs["input_ids"].shape[1]
    count, width = sequences.shape[1] - n0, sequences.shape[1] - 1
    layers = hf.attention_layers(model)
    rows = torch.zeros(len(layers), count, width, dtype=torch.float64)
    attention = torch.zeros_like(rows)
    with (
        hf.maps_asked_for(model),
        hf.offsets_kept(model),
        hf.eager_language(model),
        hf.differentiable_embeddings(model),
    ):
        for t in range(count):
            row, weights = _row(model, inputs, sequences[:, : n0 + t], int(sequences[0, n0 + t]), len(layers))
            rows[:, t, : n0 + t], attention[:, t, : n0 + t] = row, weights
    return rows, attention


def _row(model: Any, inputs: dict[str, Any], read: Tensor, target: int, layers: int) -> tuple[Tensor, Tensor]:
    """The query that predicts `target` after the ids `read`: `[layers, len]` each."""
    with torch.enable_grad():
        out = model(**hf.whole_inputs(model, inputs, read), output_attentions=True, use_cache=False, return_dict=True)
        kind = type(model).__name__
        maps = [each for each in getattr(out, "attentions", None) or () if each is not None]
        if len(maps) != layers:
            raise NoMapsError(
                f"{kind} gives {len(maps)} attention maps for {layers} layers, even on eager attention: "
                "there is nothing to compare with"
            )
        logits = out.logits[0, -1]
        # The gradient of -log softmax(logits)[target] in float64, brought to size 1: rows have unit length anyway, and
        # a confident token's gradient would vanish in half precision.
        towards = torch.softmax(logits.detach().double(), -1)
        towards[target] -= 1
        towards = towards / towards.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
        if not all(each.requires_grad for each in maps):
            raise NoMapsError(f"{kind} gives attention maps that carry no gradient: there is nothing to compare with")
        grads = torch.autograd.grad(logits, maps, towards.to(logits.dtype), allow_unused=True)
    if any(grad is None for grad in grads):
        raise NoMapsError(f"the result of {kind} does not depend on the maps that it returns: nothing to compare with")
    last = [(each.detach()[0, :, -1].double(), grad[0, :, -1].double()) for each, grad in zip(maps, grads, strict=True)]
    row = torch.stack([(a * g).abs().sum(0).cpu() for a, g in last])
    row = row / row.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return row, torch.stack([a.mean(0).cpu() for a, _ in last])
