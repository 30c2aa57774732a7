"""Two facts about the code that the paper's authors released, shown on a small model without that code.

Users will compare; these tests say in what the released scripts differ from the paper's Eq. 4.
"""

from __future__ import annotations

import sys

import pytest
import torch

import lvlm_saliency as ls
from zoo import FAMILIES

from .reference import eager


@pytest.fixture
def sample():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    sequences = model.generate(**inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False)
    return model, inputs, sequences


def test_a_gradient_at_the_candidates_own_row_is_zero_by_causality(sample):
    """The released gate appends the candidate at P and differentiates row P-1's loss with respect to row P: zero.

    Its score is then 0 for every candidate, its threshold 0, and 0 >= 0 accepts everything.
    """
    model, inputs, sequences = sample
    n0 = inputs["input_ids"].shape[1]
    prefix = sequences[:, : n0 + 4]
    scores = {}
    for candidate in (17, 60, int(sequences[0, n0 + 4])):
        longer = torch.cat([prefix, torch.tensor([[candidate]])], 1)
        with eager(model):
            out = model(input_ids=longer, pixel_values=inputs["pixel_values"], output_attentions=True, use_cache=False)
            loss = -torch.log_softmax(out.logits[0, -2], -1)[candidate]
            grads = torch.autograd.grad(loss, out.attentions, retain_graph=True)
        released = [float((a.detach() * g)[0, :, -1].abs().sum()) for a, g in zip(out.attentions, grads, strict=True)]
        proper = [float((a.detach() * g)[0, :, -2].abs().sum()) for a, g in zip(out.attentions, grads, strict=True)]
        assert released == [0.0] * len(released)
        assert min(proper) > 0
        scores[candidate] = sum(released)
    history = list(scores.values())
    assert all(score >= 0.6 * sum(history) / len(history) for score in scores.values())


def test_and_so_it_rejects_nothing_where_the_definition_rejects(sample):
    model, inputs, _ = sample
    out = ls.generate(model, inputs, [ls.SGRS(alpha=1.0, seed=4)], max_new_tokens=10)
    assert any(step.rejected for step in out.steps[0])


def test_one_layers_mask_gradient_times_raw_scores_is_not_the_saliency(sample):
    """The released map multiplies layer 0's gradient of a ones-mask into the pre-softmax scores of every layer.

    The factor is the same for all layers, so it cannot be dL/dA of each; beyond layer 0 the maps have little in common
    with |A * dL/dA|.
    """
    model, inputs, sequences = sample
    n0 = inputs["input_ids"].shape[1]
    ids, target = sequences[:, : n0 + 5], sequences[0, n0 + 5]
    module = sys.modules[type(model.get_decoder()).__module__]
    original, scores, mask = module.eager_attention_forward, [], torch.ones(ids.shape[1], ids.shape[1])
    mask.requires_grad_()

    def attention(layer, query, key, value, causal, scaling, **kwargs):
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
        value = value.repeat_interleave(query.shape[1] // value.shape[1], 1)
        score = query @ key.transpose(-1, -2) * scaling
        scores.append(score.detach())
        weights = torch.softmax(score * mask + causal if layer.layer_idx == 0 else score + causal, -1)
        return (weights @ value).transpose(1, 2).contiguous(), weights

    with eager(model):
        module.eager_attention_forward = attention
        try:
            out = model(input_ids=ids, pixel_values=inputs["pixel_values"], use_cache=False)
        finally:
            module.eager_attention_forward = original
        (factor,) = torch.autograd.grad(-torch.log_softmax(out.logits[0, -1], -1)[target], mask)
    trace = ls.trace(model, inputs, sequences)
    for layer in range(1, len(scores)):
        released = (scores[layer][0] * factor).abs().sum(0)[-1]
        released = released / released.norm()
        exact = trace.rows[0, layer, 5, : ids.shape[1]]
        assert (released - exact).norm() > 0.3
