"""CausalMM: edited rows and maps."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lvlm_saliency as ls
from engine.reference import alone
from lvlm_saliency.errors import UnsupportedModelError
from lvlm_saliency.interventions.causalmm import CausalMM, counterfactual
from lvlm_saliency.interventions.causalmm.counterfactual import (
    clip_tower,
    edited_maps,
    edited_rows,
    feature_weights,
    hashed_uniform,
    weighed_features,
)
from lvlm_saliency.interventions.causalmm.method import LANGUAGE_EDITS, VISION_EDITS
from zoo import FAMILIES

SETTINGS = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}


@given(st.integers(0, 10**6), st.sampled_from(LANGUAGE_EDITS), st.integers(2, 7))
@settings(deadline=None)
def test_edited_rows_see_no_more_and_sum_to_one(seed, edit, length):
    random = torch.Generator().manual_seed(seed)
    visible = torch.ones(length, length, dtype=torch.bool).tril()[None, None]
    weights = torch.softmax(
        torch.randn(2, 3, length, length, generator=random).masked_fill(~visible, float("-inf")), -1
    )
    noise = torch.rand(weights.shape, generator=random) + 0.01
    got = edited_rows(weights, visible, edit, True, noise)
    assert not got[~visible.expand_as(got)].any()
    rows = got[:, :, 1:] if edit == "reverse" else got  # the first row has one key: reversed, nothing is left of it
    torch.testing.assert_close(rows.sum(-1), torch.ones_like(rows[..., 0]), atol=1e-5, rtol=1e-5)
    if edit == "uniform":
        torch.testing.assert_close(got[0, 0, -1], torch.full((length,), 1 / length))
    if edit == "reverse":
        raw = edited_rows(weights, visible, edit, False)
        torch.testing.assert_close(raw, (weights.amax(-1, keepdim=True) - weights) * visible)
        last = raw[:, :, -1:]  # all keys visible: reversing again restores it, up to its smallest entry
        again = edited_rows(last, visible[:, :, -1:], edit, False)
        torch.testing.assert_close(
            again, weights[:, :, -1:] - weights[:, :, -1:].amin(-1, keepdim=True), atol=1e-6, rtol=0
        )


def test_random_rows_know_nothing_of_batch_padding_or_order():
    queries, keys = torch.arange(4, 9), torch.arange(9)
    both = hashed_uniform(3, torch.tensor([5, 6]), 1, 2, queries, keys, torch.tensor([0, 2]))
    assert both.shape == (2, 2, 5, 9)
    alone = hashed_uniform(3, torch.tensor([6]), 1, 2, queries - 2, keys - 2, torch.tensor([0]))
    assert torch.equal(both[1], alone[0])
    single = hashed_uniform(3, torch.tensor([5]), 1, 2, queries[2:3], keys, torch.tensor([0]))
    assert torch.equal(both[0, :, 2:3], single[0])
    many = hashed_uniform(
        0, torch.arange(4), 0, 8, torch.arange(60), torch.arange(60), torch.zeros(4, dtype=torch.int64)
    )
    assert many.min() >= 0
    assert many.max() < 1
    assert many.mean() == pytest.approx(0.5, abs=0.01)
    assert many.std() == pytest.approx(12**-0.5, abs=0.01)
    assert len(many.unique()) > 0.98 * many.numel()
    other = hashed_uniform(
        1, torch.arange(4), 0, 8, torch.arange(60), torch.arange(60), torch.zeros(4, dtype=torch.int64)
    )
    assert torch.corrcoef(torch.stack([many.flatten(), other.flatten()]))[0, 1].abs() < 0.01


@pytest.mark.parametrize("edit", VISION_EDITS)
def test_edited_maps(edit):
    maps = torch.softmax(torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0)), -1)
    got = edited_maps(maps, edit, torch.Generator().manual_seed(1))
    if edit == "shuffle":
        assert torch.equal(got.flatten(1).sort(-1).values, maps.flatten(1).sort(-1).values)
        assert not torch.equal(got, maps)
    elif edit == "uniform":
        torch.testing.assert_close(got, maps.mean((1, 2), keepdim=True).expand(3, 5, 5))
    elif edit == "reverse":
        torch.testing.assert_close(got, maps.flatten(1).max(-1).values[:, None, None] - maps)
    else:
        assert 0 <= got.min() < got.max() < 2
    weights = feature_weights(got, 16)
    assert weights.shape == (16,)
    torch.testing.assert_close(feature_weights(got[:, :4, :4], 16), got[:, :4, :4].mean(0).flatten())


def test_the_vision_branch_weighs_the_features_before_the_projector():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    tower, projector = clip_tower(model)
    seen = []
    handle = projector.register_forward_hook(lambda _m, args, _out: seen.append(args[0]))
    try:
        with torch.no_grad():
            model.model.get_image_features(inputs["pixel_values"])
            with weighed_features(model, "uniform", 0, inputs, [0, 1])():
                model.model.get_image_features(inputs["pixel_values"])
            model.model.get_image_features(inputs["pixel_values"])
    finally:
        handle.remove()
    side = 17  # 4 x 4 patches and the class token: a uniform map is 1 / 17 everywhere
    torch.testing.assert_close(seen[1], seen[0] / side, atol=1e-6, rtol=1e-4)
    assert torch.equal(seen[0], seen[2])
    assert tower.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("branch", ["vision", "both"])
def test_the_vision_branch_in_batches_and_without_a_cache(branch):
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    method = CausalMM(branch=branch, epsilon=0.01, seed=2, language_edit="random")
    cached = ls.generate(model, inputs, [method], **SETTINGS, output_logits=True)
    full = ls.generate(model, inputs, [method], **SETTINGS, output_logits=True, use_cache=False)
    assert torch.equal(cached.sequences, full.sequences)
    assert cached.cost.forwards == 5 * (1 + method.extra_forwards)
    for a, b in zip(cached.logits, full.logits, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("branch", ["language", "both"])
def test_the_released_loop_subtracts_at_the_first_token_only(branch):
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)

    def run(**knobs):
        method = CausalMM(branch=branch, seed=2, **knobs)
        return ls.generate(model, inputs, [method], **SETTINGS, output_logits=True)

    ours, released = run(epsilon=0.01), run(epsilon=0.01, mode="official_code")
    assert torch.equal(released.logits[0], ours.logits[0])
    branches = 1 + (branch == "both")
    assert released.cost.forwards == 5 + branches
    assert ours.cost.forwards == 5 * (1 + branches)
    n0 = inputs["input_ids"].shape[1]
    for t in range(1, 5):
        known = {**inputs, "input_ids": released.sequences[:, : n0 + t]}
        known["attention_mask"] = torch.nn.functional.pad(inputs["attention_mask"], (0, t), value=1)
        with torch.no_grad():
            factual = model(**known).logits[:, -1]
        kept = torch.isfinite(released.logits[t])
        assert not kept.all()
        torch.testing.assert_close(released.logits[t][kept], factual[kept], atol=2e-3, rtol=1e-3)
    assert any(not torch.equal(a, b) for a, b in zip(ours.logits[1:], released.logits[1:], strict=True))
    off = run(gamma=0, epsilon=0, mode="official_code")
    plain = ls.generate(model, inputs, **SETTINGS, output_logits=True)
    assert all(torch.equal(a, b) for a, b in zip(off.logits, plain.logits, strict=True))


@pytest.mark.parametrize("edit", ["uniform", "random"])
def test_the_released_rows_are_normalised_before_they_are_masked(edit, monkeypatch):
    """Each is brought to sum 1 over the whole prompt, and then loses what lies behind its own position."""
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    seen, made = [], counterfactual.edited_rows

    def watched(weights, visible, *rest):
        seen.append((visible.expand(len(weights), -1, -1, -1), rest[2], made(weights, visible, *rest)))
        return seen[-1][-1]

    monkeypatch.setattr(counterfactual, "edited_rows", watched)
    method = CausalMM(language_edit=edit, seed=3, epsilon=0.01, mode="official_code")
    both = ls.generate(model, inputs, [method], **SETTINGS)
    width = inputs["input_ids"].shape[1]
    released = torch.cat([rows for _, _, rows in seen], 2)[:, :, :width]  # the first layer's
    for sample in range(2):
        pad = int((inputs["attention_mask"][sample] == 0).sum())
        rows, n = released[sample, :, pad:, pad:], width - pad
        full = torch.ones(rows.shape)
        if edit == "random":
            at = torch.arange(n)
            full = hashed_uniform(3, torch.tensor([sample]), 0, len(rows), at, at, torch.tensor([0]))[0]
        torch.testing.assert_close(rows, (full / full.sum(-1, keepdim=True)).tril())
        assert rows[:, 0].sum(-1).max() < 0.2
        torch.testing.assert_close(rows[:, -1].sum(-1), torch.ones(len(rows)))
        own = alone(family, 2, sample)
        single = ls.generate(model, own, [method], **SETTINGS, sample_ids=[sample]).sequences
        assert torch.equal(single[0, -5:], both.sequences[sample, -5:])
    paper = dataclasses.replace(method, mode="paper")
    seen.clear()
    ls.generate(model, inputs, [paper], max_new_tokens=1)
    assert all(
        torch.allclose(rows.sum(-1)[visible.any(-1).expand_as(rows.sum(-1))], torch.tensor(1.0))
        for visible, _, rows in seen
    )


def test_other_towers_are_refused():
    model, _ = FAMILIES["qwen2_vl"].build()
    with pytest.raises(UnsupportedModelError, match="branch='language'"):
        CausalMM(branch="vision").check_model(model)
