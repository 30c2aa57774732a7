"""Edits on a model's rows: the exact gradient through each, several on one row, in beams and under a trace."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.attention.edits import RowEdit
from lvlm_saliency.attention.row_backward import RowAttention
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.eah import EAH
from lvlm_saliency.interventions.farsight import FarSight
from lvlm_saliency.interventions.locore import LocoRE
from lvlm_saliency.interventions.pai import PAI
from lvlm_saliency.interventions.tame import TAME
from zoo import FAMILIES

from .random_rows import GROUPS, HEADS, WIDTH, applied, call, picture, scores_of, softmax

# --- gradients and composition ---------------------------------------------------------------------------------------


def reference_output(rows, query, new_key, new_value, edit_of):
    """The edited attention in plain autograd: each row's own key and value carry gradient, the cached ones do not."""
    count, own = query.shape[2], rows.own
    out = []
    for t in range(count):
        before, after = slice(0, own + t), slice(own + t + 1, None)
        key, value = (
            torch.cat([old[:, :, before], new[:, :, t : t + 1], old[:, :, after]], 2)
            for old, new in ((rows.key, new_key), (rows.value, new_value))
        )
        row = dataclasses.replace(rows, query=query, key=key, value=value)
        part = edit_of(row, t)
        out.append((part[:, :, t : t + 1] @ value.repeat_interleave(HEADS // GROUPS, 1)).transpose(1, 2))
    return torch.cat(out, 1)


def tempered(gain):
    def weights(rows, t):
        size = rows.query[:, :, t].square().sum(-1).mean(1), rows.key[:, :, : rows.own + t + 1].square().sum(-1).mean(1)
        multiplier = (1 + gain / torch.log(size[0] + 1e-7)) * (1 + gain / torch.log(size[1].sum(-1) + 1e-7))
        return softmax(scores_of(rows) * multiplier[:, None, None, None], rows.mask)

    return weights


def raised(alpha):
    def weights(rows, _):
        score = scores_of(rows)
        score = torch.cat([score[..., :1], score[..., 1:4] + alpha * score[..., 1:4].abs(), score[..., 4:]], -1)
        return softmax(score, rows.mask)

    return weights


def registered(sigma):
    def weights(rows, _):
        score = scores_of(rows).masked_fill(~rows.mask, float("-inf")).exp()
        return score / (score.sum(-1, keepdim=True) + math.exp(-sigma) / (1 - math.exp(-sigma)))

    return weights


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        (TAME(gain=0.7), tempered(0.7)),
        (PAI(alpha=0.6, gamma=1), raised(0.6)),
        (FarSight(sigma=0.5, horizon=math.inf), registered(0.5)),
    ],
    ids=["tame", "pai", "farsight"],
)
def test_the_gradient_of_edited_rows_is_exact(method, weights):
    """Query, own key and own value of several rows at once, against autograd through the formula itself."""
    context, rows = call(5, 6, 7, 3, picture(6))
    query = rows.query.clone().requires_grad_()
    new_key, new_value = (x[:, :, 7:].clone().requires_grad_() for x in (rows.key, rows.value))
    seed = torch.randn(2, 3, HEADS, WIDTH, generator=torch.Generator().manual_seed(9))
    want = torch.autograd.grad(
        reference_output(rows, query, new_key, new_value, weights), (query, new_key, new_value), seed
    )
    edited = dataclasses.replace(rows, edit=method.edit_rows(context))
    out = RowAttention.apply(query, new_key, new_value, None, edited, edited.output(), 0, None)
    torch.testing.assert_close(out, reference_output(rows, query, new_key, new_value, weights), atol=1e-5, rtol=1e-4)
    for got, reference in zip(torch.autograd.grad(out, (query, new_key, new_value), seed), want, strict=True):
        torch.testing.assert_close(got, reference, atol=1e-5, rtol=1e-3)


def test_several_edits_on_one_row():
    context, rows = call(3, 6, 7, 1, picture(6))
    bias, magnitude = LocoRE(beta=1.0).edit_rows(context), PAI(alpha=0.5, gamma=1).edit_rows(context)
    sink = FarSight(sigma=0.5, horizon=9).edit_rows(context)
    one, other = bias.then(magnitude).then(sink), sink.then(magnitude).then(bias)
    torch.testing.assert_close(applied(rows, one), applied(rows, other))
    score = scores_of(rows)
    score = score + 0.5 * score.abs() * torch.nn.functional.pad(torch.ones(3), (1, 4)) + bias.bias
    registers = math.fsum(math.exp(-0.5 * d) for d in range(1, 10))
    want = score.exp() / (score.exp().sum(-1, keepdim=True) + registers)
    torch.testing.assert_close(applied(rows, one), want, atol=1e-5, rtol=1e-4)
    both = sink.then(sink)
    torch.testing.assert_close(both.sink.exp(), 2 * sink.sink.exp())
    with pytest.raises(SettingError, match="choose one"):
        RowEdit(head=torch.tensor([1])).then(RowEdit(head=torch.tensor([2])))


@pytest.mark.parametrize("name", ["llava", "qwen2_vl"])
@pytest.mark.parametrize(
    "method",
    [PAI(alpha=2.0, gamma=1), TAME(gain=4.0), EAH(threshold=1e-4), FarSight(sigma=0.05, horizon=64)],
    ids=lambda method: method.name,
)
def test_edits_act_the_same_in_both_beam_searches(name, method):
    """Ours, over forks of the cache, and transformers', over reordered rows: the picture's place follows the rows."""
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    ours = ls.generate(model, inputs, [ls.method("beam", n_beams=3), method], max_new_tokens=5).sequences
    theirs = ls.generate(model, inputs, [method], num_beams=3, do_sample=False, max_new_tokens=5).sequences
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("method", [PAI(alpha=2.0, gamma=1), FarSight(sigma=0.05, horizon=64)], ids=lambda m: m.name)
def test_a_trace_of_edited_text_has_the_rows_of_its_steps(method):
    """One pass over all rows gives what SGRS saw step by step under the same edit."""
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    gate = ls.SGRS(alpha=0, order="greedy", execution="stepwise", layers=[1, 2])
    out = ls.generate(model, inputs, [method, gate], max_new_tokens=6, min_new_tokens=6)
    trace = ls.trace(model, inputs, out.sequences, methods=[method])
    plain = ls.trace(model, inputs, out.sequences)
    scores = trace.scores("output", layers=[1, 2])
    for sample in range(2):
        steps = [step.score for step in out.steps[sample]][1:]
        torch.testing.assert_close(scores[sample, 1:], torch.tensor(steps), atol=1e-4, rtol=1e-3)
    assert (scores[:, 1:] - plain.scores("output", layers=[1, 2])[:, 1:]).abs().max() > 1e-3
