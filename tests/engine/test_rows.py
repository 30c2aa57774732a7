"""The rows of a trace equal the definition: one full eager forward and backward pass per generated token."""

from __future__ import annotations

import functools

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.attention import rows as attention_rows
from lvlm_saliency.tracing import one_pass
from zoo import FAMILIES

from .reference import alone, answer, softmax_in_its_own_precision
from .reference import rows_of as rows_in_one_precision

TOLERANCE = 1e-4
ROUGH = ("gemma4", "gemma4_unified")
"""Families whose small models magnify float32's own rounding beyond the tolerance; float64 shows what is exact."""
COARSE = {"gemma4_large": 2e-3}
"""The same with experts, whose product torch has in float32 alone: how far roundings alone move their rows."""


def rows_of(*args, **kwargs):
    """The definition, with a softmax of the model's own precision."""
    with softmax_in_its_own_precision():
        return rows_in_one_precision(*args, **kwargs)


def near(family):
    return COARSE.get(family.name, TOLERANCE)


def edited(family):
    """Edited rows are made in float32 whatever the model's dtype."""
    return 1e-3 if family.name in ROUGH else near(family)


@functools.cache
def precise(family):
    """The family's model, shared; in float64 where float32 is too rough for it."""
    return family.fresh()[0].double() if family.name in ROUGH else family.build()[0]


def fitting(family, inputs):
    """The inputs for `precise(family)`."""
    if family.name not in ROUGH:
        return inputs
    return {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}


def windowed(model):
    """Whether some layer forgets keys, or keeps a state in their place."""
    config = hf.text_config(model)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return config.model_type == "mistral" and config.sliding_window is not None
    return any(kind != "full_attention" for kind in kinds)


def test_rows_equal_the_definition(family):
    model = precise(family)
    inputs = fitting(family, family.inputs(n=1))
    sequences = answer(model, inputs)
    trace = ls.trace(model, inputs, sequences)
    rows, attention = rows_of(model, inputs, sequences)
    assert rows.abs().max() > 0.1
    torch.testing.assert_close(trace.rows[0], rows.float(), atol=near(family), rtol=0)
    torch.testing.assert_close(trace.attention[0], attention.float(), atol=near(family), rtol=0)


@pytest.mark.each_kind
def test_a_left_padded_batch_gives_each_samples_own_rows(family):
    if not family.padded:
        pytest.skip("transformers itself gives padded prompts something else")
    model = precise(family)
    inputs = fitting(family, family.inputs(n=3))
    sequences = answer(model, inputs)
    trace = ls.trace(model, inputs, sequences)
    pads = (inputs["attention_mask"] == 0).sum(1).tolist()
    assert max(pads) > 0
    for sample, pad in enumerate(pads):
        single = fitting(family, alone(family, 3, sample))
        rows, attention = rows_of(model, single, sequences[sample : sample + 1, pad:])
        assert not trace.rows[sample, ..., :pad].any()
        torch.testing.assert_close(trace.rows[sample, ..., pad:], rows.float(), atol=near(family), rtol=0)
        torch.testing.assert_close(trace.attention[sample, ..., pad:], attention.float(), atol=near(family), rtol=0)


@pytest.mark.each_kind
@pytest.mark.parametrize("space", ["probability", "unnormalised", "logit"])
def test_rows_under_locore_equal_the_definition_of_both(family, space):
    model = precise(family)
    inputs = fitting(family, family.inputs(n=1))
    method = ls.LocoRE(beta=0.8, window=3, space=space)
    sequences = ls.generate(model, inputs, [method], max_new_tokens=7, min_new_tokens=7, do_sample=False).sequences
    rows, _ = rows_of(model, inputs, sequences, gain=(0.8, 3, space))
    torch.testing.assert_close(
        ls.trace(model, inputs, sequences, methods=[method]).rows[0], rows.float(), atol=edited(family), rtol=0
    )
    with method(model):
        torch.testing.assert_close(
            ls.trace(model, inputs, sequences).rows[0], rows.float(), atol=edited(family), rtol=0
        )
    plain = ls.trace(model, inputs, sequences)
    assert (plain.rows[0] - rows).abs().max() > 10 * edited(family)


def test_two_pictures_in_one_prompt(family):
    if family.text_only:
        pytest.skip("no pictures")
    model = precise(family)
    inputs = fitting(family, family.inputs(n=1, images=2))
    sequences = answer(model, inputs, 4)
    rows, _ = rows_of(model, inputs, sequences)
    torch.testing.assert_close(ls.trace(model, inputs, sequences).rows[0], rows.float(), atol=near(family), rtol=0)


@pytest.mark.parametrize("name", ["llava", "gemma3", "qwen2_5_vl"])
def test_small_blocks_change_nothing(name, monkeypatch):
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    sequences = answer(model, inputs)
    whole = ls.trace(model, inputs, sequences)
    monkeypatch.setattr(one_pass, "MAX_ROWS", 3)
    monkeypatch.setattr(attention_rows, "BLOCK_ELEMENTS", 1500)
    parts = ls.trace(model, inputs, sequences)
    torch.testing.assert_close(parts.rows, whole.rows, atol=1e-5, rtol=0)
    torch.testing.assert_close(parts.attention, whole.attention, atol=1e-6, rtol=0)
    torch.testing.assert_close(parts.logprobs, whole.logprobs, atol=1e-5, rtol=0)


@pytest.mark.each_kind
def test_chosen_layers_are_those_of_the_whole(family):
    model, _ = family.build()
    inputs = family.inputs(n=1)
    sequences = answer(model, inputs, 4)
    whole = ls.trace(model, inputs, sequences)
    last = whole.layers[-1:]
    torch.testing.assert_close(
        ls.trace(model, inputs, sequences, layers=last).rows, whole.rows[:, -1:], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "gemma2"])
def test_matrix_normalisation_divides_by_the_norm_of_the_whole_map(name):
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    sequences = answer(model, inputs, 3)
    matrix = ls.trace(model, inputs, sequences, normalise="matrix").rows
    row = ls.trace(model, inputs, sequences).rows
    size = matrix.norm(dim=-1, keepdim=True)
    assert (size[:, :-1] < 0.999).all(), "a row is a part of the map, so its share of the Frobenius norm is below one"
    # In the last layer the loss depends on the query row alone: the other rows of the map are zero.
    torch.testing.assert_close(size[:, -1], torch.ones_like(size[:, -1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(matrix / size, row, atol=TOLERANCE, rtol=0)


def test_an_early_end_of_text_ends_that_sample_only():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    sequences = answer(model, inputs).clone()
    full = ls.trace(model, inputs, sequences)
    n0 = inputs["input_ids"].shape[1]
    sequences[0, n0 + 3] = family.eos_token_id
    sequences[0, n0 + 4 :] = model.generation_config.pad_token_id
    trace = ls.trace(model, inputs, sequences)
    assert trace.valid.tolist() == [[True] * 4 + [False] * 3, [True] * 7]
    assert trace.logprobs[0, 4:].isnan().all()
    assert trace.scores("output")[0, 4:].isnan().all()
    assert not trace.rows[0, :, 4:].any()
    torch.testing.assert_close(trace.rows[1], full.rows[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(trace.rows[0, :, :3], full.rows[0, :, :3], atol=1e-5, rtol=0)


@pytest.mark.each_kind
def test_the_cache_of_a_generation_is_reused_and_left_alone(family, monkeypatch):
    model = precise(family)
    inputs = fitting(family, family.inputs(n=2))
    settings = {"max_new_tokens": 7, "min_new_tokens": 7, "do_sample": False}
    out = ls.generate(model, inputs, [ls.LocoRE(beta=0.5)], **settings)
    want = ls.trace(model, inputs, out.sequences, methods=[ls.LocoRE(beta=0.5)])
    length = out.past_key_values.get_seq_length()
    prefills = []
    prefill = one_pass._prefill
    monkeypatch.setattr(one_pass, "_prefill", lambda *args: prefills.append(1) or prefill(*args))
    got = ls.trace(model, inputs, out, methods=[ls.LocoRE(beta=0.5)])
    assert bool(prefills) == windowed(model)  # windows have dropped keys that the trace needs
    torch.testing.assert_close(got.rows, want.rows, atol=1e-5, rtol=0)
    torch.testing.assert_close(got.logprobs, want.logprobs, atol=1e-5, rtol=0)
    assert out.past_key_values.get_seq_length() == length
    torch.testing.assert_close(
        ls.trace(model, inputs, out, methods=[ls.LocoRE(beta=0.5)]).rows, want.rows, atol=1e-5, rtol=0
    )
