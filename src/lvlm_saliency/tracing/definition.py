"""Saliency by its definition: one full eager forward and backward pass for every generated token.

`normalise="matrix"` needs it (the paper's Eq. 5 read literally divides by the Frobenius norm of the whole n x n map),
and tests compare the one-pass rows with it. It costs T full passes and an n x n map per head and layer.

The loss is computed in float64, whatever the model's dtype: for a token of probability near 1, log-softmax in float32
rounds the gradient p - 1 of its logit to a few multiples of 6e-8, and rows of a real language model were wrong by up to
5e-2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.saliency import saliency, unit
from lvlm_saliency.attention.session import Session
from lvlm_saliency.attention.state import Capture

Found = tuple[Tensor, Tensor, Tensor, Tensor]
"""Rows, head-mean attention, log p and entropy of the generated tokens."""


def by_definition(
    model: Any,
    inputs: Mapping[str, Any],
    sequences: Tensor,
    layers: list[int],
    valid: Tensor,
    state: Session,
    norm: str,
) -> Found:
    """Rows and head-mean attention `[batch, layers, T, N - 1]`, log p and entropy `[batch, T]`, float32 on the CPU.

    Args:
        model: the model.
        inputs: its inputs.
        sequences: int64 `[batch, N]`, prompt included.
        layers: decoder layer numbers.
        valid: bool `[batch, T]`, False past a sample's end of text.
        state: the open session, with its prompt length set.
        norm: "row" or "matrix".
    """
    count = valid.shape[1]

    def loop(
        model: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> Found:
        target = sequences.to(input_ids.device)
        kwargs = {**model_kwargs, "logits_to_keep": 0, "use_cache": False, hf.CACHE: None}
        if count > 1:
            kwargs = hf.extended(model, {}, kwargs, count - 1)
        tokens = [
            _token(model, target[:, : input_ids.shape[1] + t + 1], kwargs, layers, sequences.shape[1] - 1, state, norm)
            for t in range(count)
        ]
        rows, attention, logprobs, entropy = zip(*tokens, strict=True)
        return torch.stack(rows, 2), torch.stack(attention, 2), torch.stack(logprobs, 1), torch.stack(entropy, 1)

    found: Found = hf.prepared_plainly(
        model, dict(inputs), loop, use_cache=True, max_new_tokens=1, do_sample=False, num_beams=1
    )
    return found


def _token(
    model: Any,
    sequence: Tensor,
    model_kwargs: Mapping[str, Any],
    layers: list[int],
    width: int,
    state: Session,
    norm: str,
) -> Found:
    length = sequence.shape[1] - 1
    forward = hf.prefill_inputs(model, sequence[:, :length], hf.cut(model_kwargs, hf.PER_TOKEN, slice(0, length)))
    state.capture = capture = Capture(frozenset(layers), whole=True)
    try:
        with torch.enable_grad():
            log_p = torch.log_softmax(_in_float64(model(**forward, return_dict=True).logits[:, -1]), dim=-1)
            chosen = log_p.gather(-1, sequence[:, -1:].to(log_p.device)).squeeze(-1)
            # Samples are independent, so one backward pass of the sum of their losses serves the whole batch. A
            # positive factor on a token's loss cancels in its normalised map; 1 / (1 - p) keeps small gradients from
            # vanishing.
            unsure = (-torch.expm1(chosen.detach())).clamp_min(torch.finfo(torch.float64).eps)
            grads = torch.autograd.grad(-(chosen / unsure).sum(), [capture.weights[n] for n in layers])
    finally:
        state.capture = None
    rows = torch.zeros(len(sequence), len(layers), width)
    attention = torch.zeros_like(rows)
    for axis, (layer, grad) in enumerate(zip(layers, grads, strict=True)):
        weights = capture.weights[layer].detach()
        whole = saliency(_in_float64(weights), _in_float64(grad))  # [B, n, n]
        row = whole[:, -1]
        rows[:, axis, :length] = unit(row, None if norm == "row" else whole.flatten(1)).float().cpu()
        attention[:, axis, :length] = weights[:, :, -1].float().mean(1).cpu()
    entropy = -(log_p.exp() * log_p.masked_fill(log_p == float("-inf"), 0)).sum(-1)
    return rows, attention, chosen.detach().float().cpu(), entropy.detach().float().cpu()


def _in_float64(x: Tensor) -> Tensor:
    return x.to("cpu" if x.device.type == "mps" else x.device, torch.float64)  # Apple's GPUs have no float64
