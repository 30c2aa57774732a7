"""Rows that cannot be brought to unit length are 0, and rows of any size that can be are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency.attention.saliency import TINY, unit
from zoo import FAMILIES


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(-37, 18), st.integers(1, 40))
def test_of_any_size(seed, power, width):
    rows = torch.rand(3, width, generator=torch.Generator().manual_seed(seed)).clamp_min(1e-3)
    rows[1] = 0
    rows[0] *= 10.0**power
    found = unit(rows)
    if rows[0].max() >= TINY:
        expected = rows[0].double() / rows[0].double().norm()
        torch.testing.assert_close(found[0].double(), expected, atol=1e-6, rtol=1e-3 if power < -34 else 1e-5)
    assert not found[1].any()
    assert torch.equal(found[2], rows[2] / rows[2].norm())


def test_what_float32_cannot_hold_is_0():
    rows = torch.full((1, 8), 1e-42)
    assert rows.any()
    assert not unit(rows).any()


def test_over_a_whole_map():
    whole = torch.rand(2, 5, 5) * torch.tensor([1.0, 1e-30])[:, None, None]
    found = unit(whole[:, -1], whole.flatten(1))
    expected = whole[:, -1].double() / whole.double().flatten(1).norm(dim=-1, keepdim=True)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("normalise", ["row", "matrix"])
@pytest.mark.parametrize("mask", [float("-inf"), torch.finfo(torch.float32).min])
def test_a_model_that_leaves_one_token(mask, normalise):
    """From its second token on the model knows one word: those rows are 0, the first is as it was."""
    model, _ = FAMILIES["llama"].fresh()
    inputs = FAMILIES["llama"].inputs(n=1)
    length = inputs["input_ids"].shape[1]
    sequences = torch.nn.functional.pad(inputs["input_ids"], (0, 3), value=50)
    want = ls.trace(model, inputs, sequences, normalise=normalise)

    def one_word(_module, _args, output):
        masked = torch.full_like(output, mask)
        masked[..., 50] = output[..., 50]
        first = output.shape[1] > 1  # the row behind the prompt comes first where there are several
        return torch.cat([output[:, :1], masked[:, 1:]], 1) if first and normalise == "row" else masked

    hook = model.lm_head.register_forward_hook(one_word)
    try:
        trace = ls.trace(model, inputs, sequences, normalise=normalise)
    finally:
        hook.remove()
    alone = slice(1, None) if normalise == "row" else slice(0, None)
    assert not trace.rows[:, :, alone].any()
    assert trace.attention[0, 0, -1].sum() == pytest.approx(1, abs=1e-4)
    assert torch.equal(trace.logprobs[0, alone], torch.zeros_like(trace.logprobs[0, alone]))
    assert torch.equal(trace.entropy[0, alone], torch.zeros_like(trace.entropy[0, alone]))
    assert trace.scores("prompt")[0, -1] == 0
    assert trace.valid.all()
    if normalise == "row":
        torch.testing.assert_close(trace.rows[:, :, 0], want.rows[:, :, 0])
    assert trace.rows.shape[-1] == length + 2


def test_layers_behind_which_nothing_depends_on_attention():
    model, _ = FAMILIES["llama"].fresh()
    inputs = FAMILIES["llama"].inputs(n=1)
    sequences = torch.nn.functional.pad(inputs["input_ids"], (0, 3), value=50)
    with torch.no_grad():
        model.model.layers[1].self_attn.o_proj.weight.zero_()
        model.model.layers[0].self_attn.o_proj.weight.mul_(1e-25)
    rows = ls.trace(model, inputs, sequences).rows
    assert not rows[:, 1].any()
    assert torch.allclose(rows[:, 0].norm(dim=-1), torch.ones(1, 3), atol=1e-4)


@pytest.mark.parametrize("execution", ["stepwise", "blockwise"])
def test_sgrs_goes_on_where_only_one_token_is_left(execution):
    model, _ = FAMILIES["llama"].fresh()
    inputs = FAMILIES["llama"].inputs(n=1)

    def one_word(_module, _args, output):
        masked = torch.full_like(output, float("-inf"))
        masked[..., 50] = output[..., 50]
        return masked

    hook = model.lm_head.register_forward_hook(one_word)
    try:
        out = ls.generate(model, inputs, [ls.SGRS(seed=0, execution=execution)], max_new_tokens=5)
    finally:
        hook.remove()
    assert out.sequences[0, -5:].tolist() == [50] * 5
    assert all(step.score == 0 for step in out.steps[0][1:])
