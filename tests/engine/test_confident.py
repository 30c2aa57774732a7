"""Tokens that the model is sure of: their gradients are small, and no precision may lose them."""

from __future__ import annotations

import functools

import pytest
import torch

import lvlm_saliency as ls
from zoo import FAMILIES

from .reference import rows_of


@functools.cache
def confident():
    """A model whose head is so sharp that 1 - p of what it writes is some 1e-6: its inputs, text and trace."""
    family = FAMILIES["llava"]
    model, _ = family.fresh()
    inputs = family.inputs(n=1)
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    with torch.no_grad():
        logits = model(**inputs).logits[0, -1]
        top = logits.topk(2).values
        head.weight.mul_(14.0 / (top[0] - top[1]))
    sequences = model.generate(**inputs, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    return model, inputs, sequences, ls.trace(model, inputs, sequences)


def test_rows_of_sure_tokens_equal_the_definition_whose_loss_is_float64():
    model, inputs, sequences, trace = confident()
    assert -1e-4 < float(trace.logprobs[0, 0]) <= 0
    rows, _ = rows_of(model, inputs, sequences)
    torch.testing.assert_close(trace.rows[0], rows, atol=1e-4, rtol=0)


def test_a_loss_in_float32_would_not_do():
    model, inputs, sequences, trace = confident()
    rows, _ = rows_of(model, inputs, sequences, loss=torch.float32)
    assert not (trace.rows[0] - rows).abs().max() < 1e-3


@pytest.mark.parametrize("norm", ["row", "matrix"])
def test_the_packages_own_definition_is_right_for_them(norm):
    from lvlm_saliency.attention.session import Prompt, session
    from lvlm_saliency.tracing.definition import by_definition

    model, inputs, sequences, trace = confident()
    length = inputs["input_ids"].shape[1]
    with session(model) as state:
        state.prompt = Prompt.read(model, inputs["input_ids"], inputs["attention_mask"], length)
        found = by_definition(model, inputs, sequences, trace.layers, trace.valid, state, norm=norm)
    rows, _, logprobs, entropy = found
    rows = rows / rows.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(rows, trace.rows, atol=1e-4, rtol=0)
    torch.testing.assert_close(logprobs, trace.logprobs, atol=1e-5, rtol=0)
    torch.testing.assert_close(entropy, trace.entropy, atol=1e-5, rtol=0)
    assert rows.dtype == logprobs.dtype == entropy.dtype == torch.float32
