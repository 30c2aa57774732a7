"""LocoRE's three readings against their formulas, and the window's bounds, on rows and on whole models."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency.attention.edits import RowEdit
from lvlm_saliency.attention.rows import Rows
from lvlm_saliency.attention.state import RowContext
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.locore import SPACES
from zoo import FAMILIES

from .reference import eager, extended

contexts = st.builds(
    lambda prompt, output, new, cut: RowContext(
        layer=0,
        past=prompt + output,
        new=new,
        prompt_length=prompt,
        keys=prompt + output + new - min(cut, prompt + output),
        offset=min(cut, prompt + output),
        device=torch.device("cpu"),
    ),
    prompt=st.integers(1, 6),
    output=st.integers(0, 6),
    new=st.integers(1, 4),
    cut=st.integers(0, 5),
)


@given(contexts, st.integers(1, 5), st.floats(0.01, 4), st.sampled_from(SPACES), st.integers(0, 10**6))
@settings(deadline=None)
def test_rows_follow_the_formula(context, window, beta, space, seed):
    """Eq. 8-9 on random scores: gamma_j = 1 + beta for max(n0, P - w) <= j < P, 1 elsewhere."""
    random = torch.Generator().manual_seed(seed)
    query = torch.randn(1, 2, context.new, 4, generator=random)
    key, value = (torch.randn(1, 2, context.keys, 4, generator=random) for _ in range(2))
    visible = context.key_positions[None] <= context.query_positions[:, None]
    rows = Rows(query, key, value, visible[None, None], 0.5, context.past - context.offset)
    edit = ls.LocoRE(beta=beta, window=window, space=space).edit_rows(context)
    got = dataclasses.replace(rows, edit=edit).output()

    gamma = torch.ones(context.new, context.keys)
    for t, p in enumerate(context.query_positions.tolist()):
        for column, j in enumerate(context.key_positions.tolist()):
            if context.prompt_length <= j < p and j >= p - window:
                gamma[t, column] = 1 + beta
    score = query @ key.transpose(-1, -2) * 0.5
    if space == "logit":
        score = score * gamma
    weights = torch.softmax(score.masked_fill(~visible, float("-inf")), -1)
    if space != "logit":
        weights = weights * gamma
    if space == "probability":
        weights = weights / weights.sum(-1, keepdim=True)
    torch.testing.assert_close(got, (weights @ value).transpose(1, 2), atol=1e-5, rtol=1e-4)
    if (gamma == 1).all():
        torch.testing.assert_close(got, rows.output(), atol=1e-6, rtol=1e-5)


def test_edits_compose_in_order():
    first = RowEdit(bias=torch.tensor(2.0), gain=torch.tensor(3.0))
    second = RowEdit(multiplier=torch.tensor(5.0), bias=torch.tensor(1.0), gain=torch.tensor(2.0))
    both = first.then(second)
    assert (both.multiplier, both.bias, both.gain) == (5.0, 11.0, 6.0)
    assert RowEdit().then(first) == first
    assert first.additive is False
    assert RowEdit(bias=torch.tensor(1.0)).additive


@pytest.mark.each_kind
@pytest.mark.parametrize("space", SPACES)
def test_decoding_equals_the_formula_in_full_passes(family, space):
    """Greedy tokens and logits of cached LocoRE decoding are those of eager full passes with the formula put in."""
    model, _ = family.build()
    inputs = family.inputs(n=1)
    out = ls.generate(
        model,
        inputs,
        [ls.LocoRE(beta=0.9, window=3, space=space)],
        max_new_tokens=6,
        min_new_tokens=6,
        do_sample=False,
        output_logits=True,
    )
    n0 = inputs["input_ids"].shape[1]
    with eager(model, (0.9, 3, space), n0), torch.no_grad():
        for t in range(6):
            ids = out.sequences[:, : n0 + t]
            full = model(
                input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **extended(inputs, t)
            ).logits[:, -1]
            torch.testing.assert_close(out.logits[t], full, atol=2e-3, rtol=1e-3)


def test_layers_limit_where_it_acts():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    settings = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "output_logits": True}
    plain = ls.generate(model, inputs, **settings)
    some = ls.generate(model, inputs, [ls.LocoRE(beta=2.0, layers=[2])], **settings)
    everywhere = ls.generate(model, inputs, [ls.LocoRE(beta=2.0, layers=range(3))], **settings)
    default = ls.generate(model, inputs, [ls.LocoRE(beta=2.0)], **settings)
    assert torch.equal(everywhere.logits[4], default.logits[4])
    assert not torch.equal(some.logits[4], plain.logits[4])
    assert not torch.equal(some.logits[4], default.logits[4])


class Unsaid(ls.LocoRE):
    """LocoRE that says nothing of the layers' kinds: each is looked at by itself."""

    def kind_of_layer(self, layer):
        return None

    def edit_rows(self, context):
        return ls.LocoRE(self.beta, self.window, self.layers).edit_rows(context)


@pytest.mark.each_kind
@pytest.mark.parametrize(("layers", "batch"), [(None, 3), ((1,), 1)])
def test_layers_that_share_an_edited_mask_compute_what_each_would_by_itself(family, layers, batch):
    model, _ = family.build()
    inputs = family.inputs(n=batch)
    settings = {"max_new_tokens": 7, "min_new_tokens": 7, "do_sample": False, "output_logits": True}
    alone, shared = (
        ls.generate(model, inputs, [kind(beta=1.3, window=3, layers=layers)], **settings)
        for kind in (Unsaid, ls.LocoRE)
    )
    assert alone.sequences.equal(shared.sequences)
    assert all(torch.equal(a, b) for a, b in zip(alone.logits, shared.logits, strict=True))


def test_the_first_two_tokens_are_never_touched():
    """No output stands before the first generated token's own key: prompt pass and first decode step stay bit-equal."""
    family = FAMILIES["qwen2_vl"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    settings = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "output_logits": True}
    plain = ls.generate(model, inputs, **settings)
    out = ls.generate(model, inputs, [ls.LocoRE(beta=50.0)], **settings)
    assert torch.equal(out.logits[0], plain.logits[0])
    assert torch.equal(out.logits[1], plain.logits[1])
    assert not torch.equal(out.logits[2], plain.logits[2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": -1}, "beta must be a number"),
        ({"beta": float("nan")}, "beta must be a number"),
        ({"window": 0}, "window must be a whole number"),
        ({"space": "logits"}, "did you mean 'logit'"),
        ({"layers": [-1]}, "layers must be"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(SettingError, match=message):
        ls.LocoRE(**settings)


def test_layers_that_the_model_lacks_are_named():
    model, _ = FAMILIES["llava"].build()
    with pytest.raises(SettingError, match=r"layers \[7\]"), ls.LocoRE(layers=[7])(model):
        pass
