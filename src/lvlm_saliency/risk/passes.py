"""Features from further passes over a finished text: with its picture, and with a blank one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.decoding.contrast import whole_pictures
from lvlm_saliency.decoding.hidden_states import single_stream
from lvlm_saliency.model.pictures import tile_owners
from lvlm_saliency.tracing.logits import finite_logits
from lvlm_saliency.tracing.result import SaliencyTrace

WIDEST = 256
"""Dimensions kept of a hidden state; wider ones are projected at random (Johnson-Lindenstrauss), with a fixed seed."""


def of_passes(model: Any, inputs: Any, trace: SaliencyTrace, object_ids: np.ndarray) -> dict[str, np.ndarray]:
    """Further groups for the tokens of a trace, `[B, T, features]`, from two passes under the model's own attention.

    Args:
        inputs: those that the trace was made with; their pictures are replaced by the processor's mean colour (pixel
            values of zero) in the second pass.
        object_ids: int `[K]`, tokens that begin object words; the runner-ups that count.
    """
    logits, states = whole_text(model, inputs, trace.sequences, trace.prompt_length, hidden=True)
    blank = {**inputs, "pixel_values": blank_pixels(model, inputs)}
    unseen, _ = whole_text(model, blank, trace.sequences, trace.prompt_length)
    log_p, log_q = torch.log_softmax(logits, -1), torch.log_softmax(unseen, -1)
    chosen = trace.token_ids.to(log_p.device)[..., None]
    own, other = log_p.gather(-1, chosen), log_q.gather(-1, chosen)
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1, keepdim=True)
    groups = {
        "runner-up": _runner_up(log_p, chosen, torch.as_tensor(object_ids, device=log_p.device)),
        "blank picture": torch.cat([own - other, other, divergence, _entropy(log_q)], dim=-1),
        "hidden state, before": _narrow(torch.cat(states[0], -1)),
        "hidden state, at": _narrow(torch.cat(states[1], -1)),
    }
    return {name: values.float().cpu().numpy().astype(np.float16) for name, values in groups.items()}


def blank_pixels(model: Any, inputs: Any) -> Tensor:
    """The pixels of pictures in the processor's mean colour. Idefics3 and related models treat a tile of zeros as no
    tile, so one value of each tile is the smallest positive number instead."""
    pixels = torch.zeros_like(whole_pictures("the blank picture", inputs))
    if pixels.dim() == 5:
        pixels[(tile_owners(model, inputs) >= 0).to(pixels.device), 0, 0, 0] = torch.finfo(pixels.dtype).tiny
    return pixels


@torch.no_grad()
def whole_text(
    model: Any, inputs: Any, sequences: Tensor, prompt_length: int, hidden: bool = False
) -> tuple[Tensor, tuple[list[Tensor], list[Tensor]]]:
    """One pass over prompt and answer: logits float32 `[B, T, V]` that predict the generated tokens.

    With `hidden`, the states of a middle layer and of the last (`[B, T, width]` each), at the position that predicts a
    token and at the token's own.

    Raises:
        UnsupportedModelError: with `hidden`, a model that keeps several streams per token between its layers.
    """
    ids, _, kwargs = hf.prepared_alone(model, dict(inputs), 1, 1, use_cache=False)
    sequences = sequences.to(ids.device)
    count = sequences.shape[1] - prompt_length
    kwargs = hf.extended(model, {}, {**kwargs, "logits_to_keep": 0, "use_cache": False}, count)
    if hidden:
        hf.capture_once(model)
    with hf.offsets_kept(model):
        out = model(**hf.prefill_inputs(model, sequences, kwargs), output_hidden_states=hidden, return_dict=True)
    logits = finite_logits(out.logits[:, prompt_length - 1 : -1])
    if not hidden:
        return logits, ([], [])
    middle = out.hidden_states[len(out.hidden_states) // 2]
    layers = [single_stream(model, states) for states in (middle, out.hidden_states[-1])]
    return logits, (
        [layer[:, prompt_length - 1 : -1].float() for layer in layers],
        [layer[:, prompt_length:].float() for layer in layers],
    )


def _runner_up(log_p: Tensor, chosen: Tensor, objects: Tensor) -> Tensor:
    """Log-probability margin to the best other token; log of the summed probability of all other object words and
    log-probability of the best of them, both at least -12; number of them with a probability above 0.02."""
    others = log_p.scatter(-1, chosen, float("-inf"))
    rivals = others[..., objects]
    best = others.amax(-1, keepdim=True)
    floor = torch.tensor(-12.0, device=log_p.device)
    return torch.cat(
        [
            log_p.gather(-1, chosen) - best,
            torch.maximum(rivals.logsumexp(-1, keepdim=True), floor),
            torch.maximum(rivals.amax(-1, keepdim=True), floor),
            (rivals > np.log(0.02)).sum(-1, keepdim=True).float(),
        ],
        dim=-1,
    )


def _entropy(log_p: Tensor) -> Tensor:
    return -(log_p.exp() * log_p.masked_fill(log_p == float("-inf"), 0)).sum(-1, keepdim=True)


def _narrow(states: Tensor) -> Tensor:
    width = states.shape[-1]
    if width <= 2 * WIDEST:
        return states
    random = torch.Generator().manual_seed(0)
    matrix = torch.randn(width, 2 * WIDEST, generator=random) / (2 * WIDEST) ** 0.5
    return states @ matrix.to(states)
