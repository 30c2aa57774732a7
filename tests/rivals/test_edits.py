"""The formulas of PAI, FarSight, TAME and EAH on random attention rows."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.eah import EAH
from lvlm_saliency.interventions.farsight import FarSight, log_registers
from lvlm_saliency.interventions.pai import PAI
from lvlm_saliency.interventions.tame import TAME
from zoo import FAMILIES

from .random_rows import GROUPS, HEADS, applied, call, picture, scores_of, softmax

seeds = st.integers(0, 10**6)


# --- PAI ---------------------------------------------------------------------------------------------------------


@given(seeds, st.floats(0.01, 3), st.integers(5, 8), st.integers(0, 3))
@settings(deadline=None)
def test_pai_raises_the_newest_rows_on_the_image(seed, alpha, prompt, answer):
    method = PAI(alpha=alpha, gamma=1)
    for past, new in ((0, prompt), (prompt + answer, 1), (0, prompt + answer)):
        context, rows = call(seed, prompt, past, new, picture(prompt))
        raised = torch.zeros(new, past + new, dtype=torch.bool)
        raised[max(0, prompt - 1 - past) :, 1:4] = True
        score = scores_of(rows)
        want = softmax(torch.where(raised, score + alpha * score.abs(), score), rows.mask)
        got = applied(rows, method.edit_rows(context))
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(got.sum(-1), torch.ones_like(got[..., 0]))
        more = applied(rows, PAI(alpha=2 * alpha, gamma=1).edit_rows(context))
        assert (more[..., 1:4].sum(-1) >= got[..., 1:4].sum(-1) - 1e-6).all()


def test_pai_leaves_the_rest_alone():
    image = picture(6)
    assert PAI(gamma=1).edit_rows(call(0, 6, 0, 6, image, layer=1)[0]) is None, "the two lowest layers"
    assert PAI(gamma=1, layers=[1]).edit_rows(call(0, 6, 0, 6, image, layer=1)[0]) is not None
    assert PAI(alpha=0, gamma=1).edit_rows(call(0, 6, 0, 6, image)[0]) is None
    assert PAI(gamma=1).edit_rows(call(0, 6, 0, 6, None)[0]) is None, "no picture"
    assert PAI(gamma=1).edit_rows(call(0, 6, 0, 5, image)[0]) is None, "the prompt without its last row"


# --- FarSight ----------------------------------------------------------------------------------------------------


def naive_farsight(method, rows, length, pads=(0, 0)):
    """The definition: L x L scores with decaying registers to the right, softmax, and those columns dropped."""
    score = scores_of(rows)
    for b in range(2):
        for h in range(HEADS):
            for i in range(length):
                decay = method.sigma
                if method.mode == "official_code":
                    fading = 1 - 0.5 * max(0, i - pads[b]) / (length - 1 - pads[b])
                    decay = method.sigma * (0.5 + 0.5 * fading) + 2 ** (-8 * (h + 1) / HEADS)
                for j in range(i + 1, length):
                    score[b, h, i, j] = -(j - i) * decay
    upper = torch.ones(length, length, dtype=torch.bool).triu(1)
    return softmax(score, rows.mask | upper) * ~upper


@pytest.mark.parametrize("mode", ["paper", "official_code"])
@given(seed=seeds, sigma=st.floats(0, 3), prompt=st.integers(3, 8))
@settings(deadline=None, max_examples=30)
def test_farsights_closed_form_is_the_naive_one(mode, seed, sigma, prompt):
    method = FarSight(sigma=sigma, mode=mode)
    context, rows = call(seed, prompt, 0, prompt)
    got = applied(rows, method.edit_rows(context))
    torch.testing.assert_close(got, naive_farsight(method, rows, prompt), atol=1e-5, rtol=1e-4)
    mass = got.sum(-1)
    assert (mass[..., :-1] < 1).all()
    torch.testing.assert_close(mass[..., -1], torch.ones_like(mass[..., -1]))


@pytest.mark.parametrize("mode", ["paper", "official_code"])
def test_farsight_under_left_padding(mode):
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[1, :3] = True
    method = FarSight(mode=mode)
    context, rows = call(1, 7, 0, 7, padding=padding)
    want = naive_farsight(method, rows, 7, pads=(0, 3))
    torch.testing.assert_close(applied(rows, method.edit_rows(context))[:, :, 3:], want[:, :, 3:], atol=1e-5, rtol=1e-4)


def test_farsight_and_the_cache():
    method = FarSight(sigma=0.1)
    assert method.edit_rows(call(0, 5, 5, 1)[0]) is None, "the newest row is a plain softmax"
    assert method.edit_rows(call(0, 5, 4, 4)[0]) is None, "rows of several steps at once are each the newest of theirs"
    assert FarSight(sigma=math.inf).edit_rows(call(0, 5, 0, 5)[0]) is None
    whole = applied(call(2, 5, 0, 8)[1], method.edit_rows(call(2, 5, 0, 8)[0]))
    assert (whole.sum(-1)[..., 5:-1] < 1).all(), "without a cache the answer's earlier rows are edited, too"
    mass = applied(call(2, 5, 6, 1)[1], FarSight(sigma=0.1, horizon=math.inf).edit_rows(call(2, 5, 6, 1)[0])).sum(-1)
    assert (mass < 1).all(), "with a horizon, decoded rows too"


@pytest.mark.parametrize("mode", ["paper", "official_code"])
def test_farsight_keeps_more_the_nearer_a_row_is_to_the_end(mode):
    context, rows = call(0, 9, 0, 9)
    rows = context.__dict__["rows"] = dataclasses.replace(rows, query=torch.zeros_like(rows.query))  # equal scores
    mass = applied(rows, FarSight(sigma=0.1, mode=mode).edit_rows(context)).sum(-1)
    assert (mass.diff(dim=-1) > 0).all()


@pytest.mark.parametrize("method", [FarSight(sigma=0.05), FarSight(sigma=0.05, mode="official_code")])
def test_farsight_never_looks_ahead(method):
    """The columns to the right weigh by their number alone: other tokens there change nothing before them."""
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = dict(family.inputs(n=1))
    other = {**inputs, "input_ids": inputs["input_ids"].clone()}
    other["input_ids"][0, -2:] = inputs["input_ids"][0, -4:-2]
    assert not torch.equal(other["input_ids"], inputs["input_ids"])
    with torch.no_grad():
        untouched = model(**inputs).logits
        with method(model):
            one, two = model(**inputs).logits, model(**other).logits
    torch.testing.assert_close(one[:, :-2], two[:, :-2], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(one[:, -2:], two[:, -2:], atol=1e-3)
    assert not torch.allclose(one, untouched, atol=1e-3), "the model's own causal mask does not switch it off"


def test_registers_weigh_what_their_sum_says():
    for decay in (0.0, 0.3, 0.8, 2.0):
        for behind in (0, 1, 7, 300):
            want = math.fsum(math.exp(-decay * d) for d in range(1, behind + 1))
            got = log_registers(torch.tensor(decay), torch.tensor(float(behind))).exp()
            assert got == pytest.approx(want, rel=1e-5)
    assert log_registers(torch.tensor(0.8), torch.tensor(math.inf)).exp() == pytest.approx(0.816, abs=1e-3)


# --- TAME --------------------------------------------------------------------------------------------------------


def tau(x):
    return x.square().sum(-1).mean(0).sum()


def factor(rows, gain, sample, queries, keys):
    size = tau(rows.query[sample, :, queries]), tau(rows.key[sample, :, keys])
    return math.prod(1 + gain / math.log(t + 1e-7) for t in size)


@given(seeds, st.floats(0.1, 3), st.integers(3, 8), st.integers(0, 3))
@settings(deadline=None)
def test_tames_factor_is_the_closed_form_per_sample(seed, gain, prompt, pad):
    pad = min(pad, prompt - 2)
    padding = torch.zeros(2, prompt, dtype=torch.bool)
    padding[1, :pad] = True
    method = TAME(gain=gain)
    for past, new in ((0, prompt), (prompt + 1, 1), (prompt, 3)):
        context, rows = call(seed, prompt, past, new, padding=padding)
        got = method.edit_rows(context).temper.multiplier[:, 0, :, 0]
        for sample, skip in enumerate((0, pad)):
            for t in range(new):
                if past == 0:
                    want = factor(rows, gain, sample, slice(skip, None), slice(skip, None))
                else:
                    want = factor(rows, gain, sample, slice(t, t + 1), slice(skip, past + t + 1))
                assert got[sample, t] == pytest.approx(want, rel=1e-3, abs=1e-3)


def test_tame_sharpens_and_stays_finite():
    context, rows = call(0, 40, 0, 40)
    plain, sharp = applied(rows, None), applied(rows, TAME(gain=0.8).edit_rows(context))
    assert (TAME().edit_rows(context).temper.multiplier > 1).all()
    assert torch.equal(plain.argmax(-1), sharp.argmax(-1))

    def spread(w):
        return torch.special.entr(w).sum(-1)

    assert (spread(sharp) <= spread(plain) + 1e-5).all()
    context, rows = call(0, 4000, 4095, 1)
    for dtype in (torch.float16, torch.bfloat16):
        context.__dict__["rows"] = dataclasses.replace(
            rows, query=30 * rows.query.to(dtype), key=30 * rows.key.to(dtype)
        )
        assert torch.isfinite(TAME().edit_rows(context).temper.multiplier).all()


# --- EAH ---------------------------------------------------------------------------------------------------------


def test_eah_chooses_the_head_with_most_sinks():
    image = torch.ones(2, 5, dtype=torch.bool)
    image[:, 0] = False
    means = torch.zeros(2, HEADS, 5)
    means[0, 2, 1:4] = 0.1
    means[0, 3, 1:3] = 0.1
    means[0, 1, 0] = 0.9  # not a column of the picture
    means[1, 1, 2:4] = 0.1
    means[1, 3, 2:4] = 0.1
    assert EAH().densest_head(means, image).tolist() == [2, 1], "the first of several"
    assert EAH(threshold=0.2).densest_head(means, image).tolist() == [-1, -1]
    first = means.roll(-2, dims=1)
    assert EAH().densest_head(first, image).tolist() == [0, 1]
    assert EAH(mode="official_code").densest_head(first, image).tolist() == [-1, 1]


@given(seeds, st.integers(4, 8))
@settings(deadline=None)
def test_eah_gives_one_heads_map_to_all(seed, prompt):
    image = picture(prompt)
    context, rows = call(seed, prompt, 0, prompt, image, layer=0)
    weights = applied(rows, None)
    columns = range(prompt)
    means = torch.stack([weights[:, :, j + 1 :, j].sum(-1) / max(1, prompt - 1 - j) for j in columns], -1)
    threshold = float(means[..., 1:4].median()) + 3e-5  # no column's own value
    method = EAH(threshold=threshold)
    torch.testing.assert_close(method._means(context), means, atol=1e-6, rtol=1e-5)
    head = method.densest_head(means, image)
    edit = method.edit_rows(context)
    assert torch.equal(edit.head, head)
    one = rows.with_one_head(head)
    same = one.weights(slice(0, prompt))
    for sample in range(2):
        assert torch.allclose(same[sample], weights[sample, head[sample]].expand(HEADS, -1, -1), atol=1e-6)
        value = rows.value[sample].repeat_interleave(HEADS // GROUPS, 0)
        want = weights[sample, head[sample]] @ value
        torch.testing.assert_close(one.output()[sample].transpose(0, 1), want, atol=1e-5, rtol=1e-4)


def test_eah_acts_on_prompts_of_its_layers_only():
    image = picture(6)
    low = EAH(threshold=0)
    assert low.edit_rows(call(0, 6, 0, 6, image, layer=2)[0]) is None
    assert low.edit_rows(call(0, 6, 0, 6, image, layer=1)[0]) is not None
    assert EAH(threshold=0, mode="official_code", layers=[5]).edit_rows(call(0, 6, 0, 6, image, layer=2)[0]) is None
    assert low.edit_rows(call(0, 6, 6, 1, image, layer=0)[0]) is None
    assert EAH(threshold=math.inf).edit_rows(call(0, 6, 0, 6, image, layer=0)[0]) is None
    for method in (low, TAME()):
        with pytest.raises(SettingError, match="comes in pieces"):
            method.edit_rows(call(0, 6, 0, 5, image, layer=0)[0])
