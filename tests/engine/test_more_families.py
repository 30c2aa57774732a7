"""Families beside those of the fast tests: their rows are those of the definition, alone and in a batch."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.model.layout import image_layouts
from zoo import MORE
from zoo.examination import CLOSE, definition, state_of
from zoo.seeing import family_of

from .reference import alone, extended

# torch has no batched form of the experts' product yet: one gradient after the other, and it says so
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")

FAST = {"gemma4", "qwen3_5_vl", "hunyuan_vl", "ernie4_5_vl_moe"}
"""One of each kind of what is new: shared keys, a hybrid, marks among the image tokens, types for experts."""
LOUD = {"gemma4_large": 4e-4}
"""Where eager attention and the fused one differ by this in float32 already."""


def chosen(names):
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", chosen(MORE))
def test_rows_are_those_of_the_definition(name):
    family = family_of(name)
    model, processor = family.build()
    assert model.config.model_type == family.model_type
    inputs = family.inputs(n=1)
    sequences = model.generate(**inputs, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    before = state_of(model)  # some towers get hooks from transformers on their first call
    trace = ls.trace(model, inputs, sequences)
    assert state_of(model) == before
    n0 = inputs["input_ids"].shape[1]
    for t in range(trace.rows.shape[2]):
        given = extended(inputs, t)
        (wanted,) = definition(model, sequences[:, : n0 + t + 1], n0 + t, **given)
        assert sorted(wanted) == trace.layers
        for axis, layer in enumerate(trace.layers):
            row = trace.rows[0, axis, t].double()
            assert float((row[: n0 + t] - wanted[layer]).abs().max()) < LOUD.get(name, CLOSE), (layer, t)
            assert not row[n0 + t :].any()
    assert trace.regions.image.sum() == torch.isin(inputs["input_ids"], torch.tensor(placeholders(model))).sum() > 0
    if name != "deepseek_ocr2":
        layouts = image_layouts(processor, inputs, family.pictures(), model)
        assert layouts[0][0].positions.tolist() == trace.regions.image[0].nonzero().flatten().tolist()


def placeholders(model):
    from lvlm_saliency.model.regions import placeholder_ids

    return placeholder_ids(model)


@pytest.mark.parametrize("name", chosen(MORE))
def test_a_padded_batch_has_the_rows_of_each_alone(name):
    family = family_of(name)
    if not family.padded:
        pytest.skip("transformers itself gives padded prompts something else")
    model, _ = family.build()
    inputs = family.inputs(n=3)
    sequences = model.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    batch = ls.trace(model, inputs, sequences)
    for sample in range(3):
        single = alone(family, 3, sample)
        n0 = single["input_ids"].shape[1]
        one = ls.trace(model, single, sequences[sample : sample + 1, -n0 - 4 :])
        mine = batch.rows[sample, ..., -one.rows.shape[-1] :]
        assert float((mine - one.rows[0]).abs().max()) < 5 * CLOSE


@pytest.mark.parametrize("name", chosen(MORE))
def test_neutral_methods_change_nothing(name):
    """Models that ask for their backend by name would attend otherwise under ours."""
    family = family_of(name)
    model, _ = family.build()
    inputs = family.inputs(n=1)
    asked = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "output_logits": True}
    plain = model.generate(**inputs, **asked, return_dict_in_generate=True)
    for method in (ls.LocoRE(beta=0), ls.SGRS(alpha=0, order="greedy", execution="stepwise")):
        got = ls.generate(model, inputs, [method], **asked)
        assert torch.equal(got.sequences, plain.sequences)
        assert all(torch.equal(a, b) for a, b in zip(got.logits, plain.logits, strict=True))
    with ls.LocoRE(beta=0)(model):
        block = model.generate(**inputs, **asked, return_dict_in_generate=True)
    assert all(torch.equal(a, b) for a, b in zip(block.logits, plain.logits, strict=True))


@pytest.mark.parametrize("name", chosen(MORE))
def test_scores_of_rejection_sampling_are_those_of_a_trace(name):
    family = family_of(name)
    model, _ = family.build()
    inputs = family.inputs(n=1)
    gate = ls.SGRS(alpha=0.7, top_k=4, seed=3, execution="stepwise")
    written = ls.generate(model, inputs, [gate], max_new_tokens=6, min_new_tokens=6)
    trace = ls.trace(model, inputs, written)
    n0 = inputs["input_ids"].shape[1]
    axes = [trace.layers.index(layer) for layer in gate.target_layers(model)]
    for t, step in enumerate(written.steps[0]):
        if step.score is not None:
            wanted = float((trace.rows[0, axes, t, n0 : n0 + t].sum(-1) / t).mean())
            assert step.score == pytest.approx(wanted, abs=1e-3 * max(1.0, abs(wanted)))
    assert not hf._switches
