"""Contrastive branches: their logits are those of full passes over their own inputs, and they combine as written."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency.attention.prompts import Prompt
from lvlm_saliency.attention.session import session
from lvlm_saliency.decoding.contrast import constrained, plausible
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.causalmm import CausalMM
from lvlm_saliency.interventions.dola import DoLa
from lvlm_saliency.interventions.icd import ICD
from lvlm_saliency.interventions.pai import PAI
from lvlm_saliency.interventions.prompts import without_pictures
from lvlm_saliency.interventions.vcd import VCD
from zoo import FAMILIES

METHODS = {
    "vcd": VCD(alpha=0.7, beta=0.01, seed=3),
    "icd": ICD(alpha=0.7, beta=0.01),
    "pai": PAI(alpha=0.5, gamma=1.5, beta=0.01),
    "causalmm": CausalMM(gamma=0.7, epsilon=0.01),
}
SETTINGS = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
seeds = st.integers(0, 10**6)


def logits_of(seed, vocabulary=11, batch=2):
    random = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(batch, vocabulary, generator=random) for _ in range(2)]


def spied(monkeypatch, method):
    """Every call of the method's `combine`: the main logits and those of the branches."""
    calls, combine = [], type(method).combine

    def spy(self, logits, others):
        calls.append((logits.clone(), [other.clone() for other in others]))
        return combine(self, logits, others)

    monkeypatch.setattr(type(method), "combine", spy)
    return calls


def full_pass(model, reading, tokens, editors=()):
    """Logits behind `tokens` `[B, t]` after a reading's prompt, from one pass without a cache."""
    ids = reading.inputs["input_ids"]
    with session(model, (*editors, *reading.editors)) as state:
        state.prompt = Prompt.read(model, ids, reading.inputs["attention_mask"], ids.shape[1])
        rest = {k: v for k, v in reading.inputs.items() if k not in ("input_ids", "attention_mask")}
        for name in ("token_type_ids", "mm_token_type_ids"):
            if name in rest:
                rest[name] = torch.nn.functional.pad(rest[name], (0, tokens.shape[1]))
        mask = torch.nn.functional.pad(reading.inputs["attention_mask"], (0, tokens.shape[1]), value=1)
        positions = {} if "image_grid_thw" in rest else {"position_ids": (mask.cumsum(1) - 1).clamp_min(0)}
        if hasattr(model.model, "rope_deltas"):
            model.model.rope_deltas = None
        with torch.no_grad():
            out = model(
                input_ids=torch.cat([ids, tokens], 1), attention_mask=mask, use_cache=False, **positions, **rest
            )
        return out.logits[:, -1].float()


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "gemma3"])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_a_branch_is_a_full_pass_over_its_own_input(name, method, monkeypatch):
    """Own cache, own positions, own prompt length, the chosen tokens: at every step, on a left-padded batch."""
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    calls = spied(monkeypatch, method)
    out = ls.generate(model, inputs, [method], **SETTINGS, output_logits=True)
    n0 = inputs["input_ids"].shape[1]
    editors = [method] if hasattr(method, "edit_rows") else []
    (reading,) = method.contrast_branches(model, dict(inputs), [0, 1])
    for t, (logits, others) in enumerate(list(calls)):
        want = full_pass(model, reading, out.sequences[:, n0 : n0 + t], editors)
        torch.testing.assert_close(others[0], want, atol=2e-3, rtol=1e-3)
        assert not torch.allclose(others[0], logits, atol=1e-2)
        torch.testing.assert_close(out.logits[t], type(method).combine(method, logits, others))


def test_the_image_free_pass_does_not_know_the_gain(monkeypatch):
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    seen = []
    for alpha in (0.0, 5.0):
        calls = spied(monkeypatch, METHODS["pai"])
        ls.generate(model, inputs, [PAI(alpha=alpha, gamma=1.5, beta=0)], **SETTINGS)
        seen.append(calls[0])
    assert torch.equal(seen[0][1][0], seen[1][1][0])
    assert not torch.equal(seen[0][0], seen[1][0]), "the prompt's last row is raised although guidance is on"


def test_the_released_flag_leaves_the_first_token_alone():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)

    def run(**knobs):
        method = PAI(gamma=1.5, beta=0, **knobs)
        return ls.generate(model, inputs, [method], max_new_tokens=2, do_sample=False, output_logits=True)

    plain, paper, released = run(alpha=0), run(alpha=4.0), run(alpha=4.0, mode="official_code")
    assert torch.equal(released.logits[0], plain.logits[0])
    assert not torch.equal(paper.logits[0], plain.logits[0])
    assert not torch.equal(released.logits[1], plain.logits[1])


@given(seeds, st.floats(0, 5), st.floats(0.001, 1))
@settings(deadline=None)
def test_what_combining_keeps(seed, alpha, beta):
    main, other = logits_of(seed)
    method = VCD(alpha=alpha, beta=beta)
    out = method.combine(main, [other])
    keep = torch.softmax(main, -1) >= beta * torch.softmax(main, -1).amax(-1, keepdim=True) * (1 + 1e-6)
    assert torch.isfinite(out)[keep].all()
    assert (torch.isfinite(out).sum(-1) >= 1).all()
    assert torch.equal(torch.isfinite(VCD(alpha=0, beta=beta).combine(main, [])), plausible(main, beta))
    assert torch.equal(VCD(alpha=0, beta=beta).combine(main, []).argmax(-1), main.argmax(-1))
    assert torch.equal(VCD(alpha=alpha, beta=1.0).combine(main, [other]).argmax(-1), main.argmax(-1))
    same = method.combine(main, [main])
    torch.testing.assert_close(same[torch.isfinite(same)], main[torch.isfinite(same)], atol=1e-4, rtol=1e-4)
    moved = torch.softmax(method.combine(main + 3.0, [other - 2.0]), -1)
    torch.testing.assert_close(moved, torch.softmax(out, -1), atol=1e-4, rtol=1e-3)
    for twin in (ICD(alpha=alpha, beta=beta), CausalMM(gamma=alpha, epsilon=beta)):
        torch.testing.assert_close(twin.combine(main, [other]), out, atol=1e-4, rtol=1e-4)


@given(seeds, st.floats(1.01, 4))
@settings(deadline=None)
def test_guidance_follows_the_formula(seed, gamma):
    main, other = logits_of(seed)
    a, u = torch.log_softmax(main, -1), torch.log_softmax(other, -1)
    want = (gamma * (a - u) + u).masked_fill(a < a.amax(-1, keepdim=True) + math.log(0.1), float("-inf"))
    torch.testing.assert_close(PAI(gamma=gamma).combine(main, [other]), want, atol=1e-4, rtol=1e-4)
    assert PAI(gamma=1).combine(main, []) is main


def test_two_branches_are_each_subtracted():
    main, a = logits_of(1)
    b, _ = logits_of(2)
    got = CausalMM(gamma=0.5, epsilon=0, branch="both").combine(main, [a, b])
    torch.testing.assert_close(got, 2.0 * main - 0.5 * a - 0.5 * b)


def test_no_constraint_masks_nothing():
    main, other = logits_of(3)
    assert constrained(other, main, 0) is other
    assert plausible(main, 0).all()


def penalised(logits, ids, penalty):
    """What repetition_penalty does: the logits of all ids so far are divided by it, or multiplied where negative."""
    seen = logits.gather(1, ids)
    return logits.scatter(1, ids, torch.where(seen < 0, seen * penalty, seen / penalty))


@pytest.mark.parametrize("mode", ["paper", "official_code"])
def test_a_penalty_acts_before_the_released_guidance_and_after_the_papers(mode):
    """The released guidance is a logits processor, and transformers puts a call's penalties before those."""
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    method, penalty = PAI(alpha=0, gamma=1.6, beta=0.05, mode=mode), 1.7
    bare = without_pictures(model, inputs)
    out = ls.generate(model, inputs, [method], **SETTINGS, repetition_penalty=penalty, output_scores=True)
    n0, differ = inputs["input_ids"].shape[1], 0
    for t in range(5):
        ids = out.sequences[:, : n0 + t]
        text = torch.cat([bare["input_ids"], ids[:, n0:]], 1)
        with torch.no_grad():
            seen = model(**{**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits[:, -1]
            unseen = model(input_ids=text, attention_mask=torch.ones_like(text)).logits[:, -1]

        def guided(main, other=unseen):
            a, u = torch.log_softmax(main, -1), torch.log_softmax(other, -1)
            kept = a >= a.amax(-1, keepdim=True) + math.log(0.05)
            return (u + 1.6 * (a - u)).masked_fill(~kept, float("-inf"))

        before, after = guided(penalised(seen, ids, penalty)), penalised(guided(seen), ids, penalty)
        want = before if mode == "official_code" else after
        torch.testing.assert_close(out.scores[t], want, atol=2e-3, rtol=1e-3)
        differ += not torch.allclose(before, after, atol=2e-3)
    assert differ > 2
    torch.manual_seed(0)
    drawn = ls.generate(
        model,
        inputs,
        [method],
        max_new_tokens=1,
        do_sample=True,
        temperature=0.5,
        repetition_penalty=penalty,
        output_scores=True,
    )
    torch.testing.assert_close(drawn.scores[0], 2 * out.scores[0], atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_sampled_sgrs_and_several_answers(method):
    """The combined logits are sampled from, judged by SGRS, and drawn several times for each sample."""
    family = FAMILIES["qwen2_vl"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    n0 = inputs["input_ids"].shape[1]
    short = {"max_new_tokens": 4, "min_new_tokens": 4}
    torch.manual_seed(1)
    sampled = ls.generate(model, inputs, [method], **short, do_sample=True, output_scores=True)
    chosen = sampled.sequences[:, n0:]
    assert all(torch.isfinite(s.gather(1, chosen[:, t : t + 1])).all() for t, s in enumerate(sampled.scores))
    judged = ls.generate(model, inputs, [method, ls.SGRS(alpha=0.9, order="greedy")], **short, output_logits=True)
    assert any(step.threshold is not None for step in judged.steps[0])
    assert {s.token_id for s in judged.steps[0]} <= set(
        torch.stack(judged.logits)[:, 0].topk(5).indices.flatten().tolist()
    )
    several = ls.generate(model, inputs, [method], **short, do_sample=True, num_return_sequences=2)
    assert several.sequences.shape == (4, n0 + 4)


def test_the_models_own_position_offsets_stay():
    family = FAMILIES["qwen2_vl"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    ls.generate(model, inputs, **SETTINGS)
    before = model.model.rope_deltas.clone()
    ls.generate(model, inputs, [METHODS["pai"]], **SETTINGS)
    assert torch.equal(model.model.rope_deltas, before)


def test_what_does_not_go_together_is_refused():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    with pytest.raises(SettingError, match="each change the logits"):
        ls.generate(model, inputs, [VCD(), DoLa()], **SETTINGS)
    with pytest.raises(SettingError, match="cannot run under beams"):
        ls.generate(model, inputs, [VCD()], **SETTINGS, num_beams=2)
    with pytest.raises(SettingError, match="another method makes the logits"):
        ls.generate(model, inputs, [VCD(), ls.SGRS(execution="blockwise")], **SETTINGS)
    with pytest.raises(SettingError, match="set gamma=1"), PAI()(model):
        pass
    ls.generate(model, inputs, [PAI(gamma=1)], **SETTINGS, num_beams=2)
