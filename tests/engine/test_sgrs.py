"""SGRS makes the decisions of a slow reference that scores every candidate by the definition, step by step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.decoding.draws import pick, uniform
from lvlm_saliency.errors import NumericalError, SettingError
from zoo import FAMILIES

from .reference import eager, extended, token_row

STEPS = 7
NEVER = 10**6  # an end-of-text id that no token has
ROUGH = {"gemma4": 2e-5, "gemma4_unified": 2e-5, "gemma4_large": 3e-4}
"""Families whose small models magnify float32's own rounding (tests/engine/test_rows.py compares them in float64)."""


def slow_sgrs(model, inputs, method, gain=None):
    """The algorithm of method section 3, written out: one full pass per candidate and step. One unpadded sample."""
    known = hf.attention_layers(model)
    target = [known.index(n) for n in method.target_layers(model)]
    sequence, n0 = inputs["input_ids"], inputs["input_ids"].shape[1]
    history, steps = [], []
    with eager(model, gain, n0):
        for t in range(STEPS):
            with torch.no_grad():
                extra = extended(inputs, t)
                mask = torch.ones_like(sequence)
                logits = model(input_ids=sequence, attention_mask=mask, use_cache=False, **extra).logits[0, -1]
            p = torch.softmax(logits.float(), -1)
            top = p.topk(method.top_k)
            weight = dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))
            score = {}
            if t:
                for c in weight:
                    rows, _ = token_row(model, inputs, sequence, c)
                    score[c] = rows[target, n0:].mean(1).mean().item()
            left, rejected, chosen = list(weight), [], None
            tau = method.alpha * sum(history[-method.window :]) / len(history[-method.window :]) if history else None
            while left and chosen is None and len(rejected) < method.max_draws:
                c = left[0]
                if method.order == "sample":
                    u = uniform(method.seed, 0, t, len(rejected)) * sum(weight[i] for i in left)
                    for c in left:
                        u -= weight[c]
                        if u < 0:
                            break
                left.remove(c)
                if tau is None or score[c] >= tau:
                    chosen = c
                else:
                    rejected.append(c)
            fallback = chosen is None
            if fallback:
                chosen = max(score, key=score.get)
            if t:
                history.append(score[chosen])
            steps.append((chosen, score.get(chosen), tau, rejected, fallback, score))
            sequence = torch.cat([sequence, torch.tensor([[chosen]])], 1)
    return steps


def same_decisions(got, want, near=1e-4):
    for ours, (token, score, tau, rejected, fallback, scores) in zip(got, want, strict=True):
        assert (ours.token_id, ours.rejected, ours.fallback) == (token, rejected, fallback)
        assert ours.draws == len(rejected) + (not fallback)
        if score is None:
            assert ours.score is None
            assert ours.threshold is None
            continue
        assert ours.score == pytest.approx(score, abs=near)
        assert ours.threshold == (tau if tau is None else pytest.approx(tau, abs=near))
        assert list(ours.candidates) == list(scores)
        for candidate, value in ours.candidates.items():
            if rejected or candidate == token:
                assert value == pytest.approx(scores[candidate], abs=near)
            else:
                assert value is None, "nothing was refused, so no other candidate was scored"


METHODS = [
    ls.SGRS(alpha=0.9, max_draws=2, seed=11),
    ls.SGRS(alpha=1.1, max_draws=3, order="greedy", window=3),
    ls.SGRS(alpha=0.6, max_draws=1, top_k=4, seed=3),
]


@pytest.mark.each_kind
@pytest.mark.parametrize("method", METHODS, ids=["sample", "greedy", "one-draw"])
def test_decisions_equal_the_slow_reference(family, method):
    model, _ = family.build()
    inputs = family.inputs(n=1)
    got = ls.generate(model, inputs, [method], max_new_tokens=STEPS, eos_token_id=NEVER).steps[0]
    same_decisions(got, slow_sgrs(model, inputs, method), max(1e-4, ROUGH.get(family.name, 0)))


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gemma3", "llama"])
def test_decisions_under_locore_equal_the_slow_reference(name):
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    method = METHODS[0]
    both = [ls.LocoRE(beta=0.7, window=4), method]
    got = ls.generate(model, inputs, both, max_new_tokens=STEPS, eos_token_id=NEVER).steps[0]
    same_decisions(got, slow_sgrs(model, inputs, method, gain=(0.7, 4, "probability")))


@pytest.mark.each_kind
def test_it_rejects_and_falls_back(family):
    model, _ = family.build()
    steps = []
    for seed, alpha in enumerate((0.8, 0.95, 1.1, 0.9, 0.95)):
        method = ls.SGRS(alpha=alpha, max_draws=2, seed=seed)
        out = ls.generate(model, family.inputs(n=3), [method], max_new_tokens=10, eos_token_id=NEVER)
        steps += [step for sample in out.steps for step in sample]
        if any(step.fallback for step in steps) and any(step.rejected and not step.fallback for step in steps):
            break
    assert any(step.rejected and not step.fallback for step in steps)
    assert any(step.fallback for step in steps)
    for step in steps:
        assert step.token_id in step.candidates
        assert set(step.rejected) <= set(step.candidates)
        if step.fallback:
            assert step.score == max(step.candidates.values())
        elif step.threshold is not None:
            assert step.score >= step.threshold
            assert all(step.candidates[c] < step.threshold for c in step.rejected)


@pytest.mark.each_kind
def test_the_scores_are_those_of_a_trace(family):
    model, _ = family.build()
    inputs = family.inputs(n=2)
    method = ls.SGRS(alpha=0.8, seed=2)
    out = ls.generate(model, inputs, [method], max_new_tokens=9, eos_token_id=NEVER)
    scores = ls.trace(model, inputs, out.sequences, layers=method.target_layers(model)).scores("output")
    for sample, steps in enumerate(out.steps):
        assert steps[0].score is None
        for t, step in enumerate(steps[1:], 1):
            if bool(scores[sample, t].isfinite()):  # past an end-of-text token the trace holds nothing
                assert step.score == pytest.approx(scores[sample, t].item(), abs=ROUGH.get(family.name, 1e-5))


def test_seed_decides_everything():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)

    def text(seed):
        return ls.generate(model, inputs, [ls.SGRS(seed=seed)], max_new_tokens=12).sequences.tolist()

    assert text(1) == text(1)
    assert len({str(text(seed)) for seed in range(6)}) > 1
    torch.manual_seed(5)
    first = text(None)
    torch.manual_seed(5)
    assert text(None) == first


def test_warpers_bound_the_candidates():
    family = FAMILIES["llava"]
    model, _ = family.build()
    out = ls.generate(
        model, family.inputs(n=1), [ls.SGRS(seed=0)], do_sample=True, top_k=2, max_new_tokens=8, eos_token_id=NEVER
    )
    assert {len(step.candidates) for step in out.steps[0]} == {2}


def test_finished_samples_neither_score_nor_draw():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    method = ls.SGRS(order="greedy", execution="stepwise")
    free = ls.generate(model, inputs, [method], max_new_tokens=10, eos_token_id=NEVER)
    stop = free.steps[0][3].token_id
    assert stop not in [s.token_id for s in free.steps[1]]
    out = ls.generate(model, inputs, [method], max_new_tokens=10, eos_token_id=stop, pad_token_id=0)
    assert [s.token_id for s in out.steps[0]] == [s.token_id for s in free.steps[0]][: len(out.steps[0])]
    assert len(out.steps[0]) <= 4
    assert [s.token_id for s in out.steps[1]] == [s.token_id for s in free.steps[1]]
    assert not out.sequences[0, inputs["input_ids"].shape[1] + len(out.steps[0]) :].any()
    assert out.cost.kept == len(out.steps[0]) + 10
    scored = [step for step in out.steps[1] if step.score is not None]
    assert len(scored) == 9
    assert 9 <= out.cost.backwards <= 18


def test_as_custom_generate():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    method = ls.SGRS(alpha=0.9, seed=6)
    ids = model.generate(**inputs, custom_generate=method, max_new_tokens=8)
    assert torch.equal(ids, ls.generate(model, inputs, [method], max_new_tokens=8).sequences)
    out = model.generate(**inputs, custom_generate=method, max_new_tokens=8, return_dict_in_generate=True)
    assert torch.equal(out.sequences, ids)
    with ls.LocoRE(beta=2.0)(model):
        both = model.generate(**inputs, custom_generate=method, max_new_tokens=8)
    want = ls.generate(model, inputs, [ls.LocoRE(beta=2.0), method], max_new_tokens=8).sequences
    assert torch.equal(both, want)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -0.1}, "alpha must be a number"),
        ({"alpha": "high"}, "alpha must be a number"),
        ({"top_k": 0}, "top_k must be a whole number"),
        ({"max_draws": 1.5}, "max_draws must be a whole number"),
        ({"window": 0}, "window must be"),
        ({"order": "greedi"}, "did you mean 'greedy'"),
        ({"execution": "blocks"}, "did you mean 'blockwise'"),
        ({"layers": []}, "layers is empty"),
        ({"layers": 3}, "list of layer numbers"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(SettingError, match=message):
        ls.SGRS(**settings)


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 100))
def test_draws_are_functions_of_their_names(seed, sample, step, draw):
    u = uniform(seed, sample, step, draw)
    assert 0 <= u < 1
    assert u == uniform(seed, sample, step, draw)
    assert u != uniform(seed, sample, step, draw + 1)
    assert u != uniform(seed, sample + 1, step, draw)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda w: sum(w) > 0), st.floats(0, 1, exclude_max=True)
)
def test_pick_inverts_the_distribution(weights, u):
    index = pick(weights, u)
    total = sum(weights)
    assert sum(weights[:index]) <= u * total + 1e-9
    assert sum(weights[: index + 1]) >= u * total - 1e-9


def test_draws_follow_the_distribution():
    weights = [0.5, 0.3, 0.2]
    counts = [0, 0, 0]
    for step in range(3000):
        counts[pick(weights, uniform(7, 0, step, 0))] += 1
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count / 3000 - weight) < 0.04


@pytest.mark.parametrize("execution", ["stepwise", "blockwise"])
@pytest.mark.parametrize("settings", [{}, {"max_draws": 1}, {"alpha": 0.0}])
def test_a_score_that_is_no_number_is_an_error_of_one_line(execution, settings):
    """Finite logits whose gradient overflows on its way down: the output projection is large and the values small."""
    family = FAMILIES["llama"]
    model, _ = family.fresh()
    attention = model.model.layers[1].self_attn
    with torch.no_grad():
        attention.o_proj.weight.copy_(attention.o_proj.weight.sign() * 3e38)
        attention.v_proj.weight.mul_(2.0**-127)
        model.lm_head.weight.mul_(100)
    method = ls.SGRS(layers=[1, 2], seed=0, execution=execution, **settings)
    with pytest.raises(NumericalError, match=r"^SGRS cannot score candidate \d+ at step 1: its S is nan.*float32$"):
        ls.generate(model, family.inputs(n=1), [method], max_new_tokens=5, do_sample=True)


def test_a_model_that_computes_all_logits_is_scored_by_the_newest(monkeypatch):
    """Without a cache some families cannot leave out the logits of the prompt; their gradients are not the token's."""
    model, _ = FAMILIES["llama"].fresh()
    inputs = FAMILIES["llama"].inputs(n=2)
    asked = {"max_new_tokens": 6, "min_new_tokens": 6, "use_cache": False}
    gate = ls.SGRS(alpha=1.0, order="greedy")
    want = ls.generate(model, inputs, [gate], **asked)
    forward, seen = model.forward, []

    def all_rows(*args, logits_to_keep=0, **kwargs):
        out = forward(*args, **kwargs)
        seen.append(out.logits.shape[1])
        return out

    monkeypatch.setattr(model, "forward", all_rows)
    got = ls.generate(model, inputs, [gate], **asked)
    assert min(seen) >= inputs["input_ids"].shape[1]
    assert torch.equal(got.sequences, want.sequences)
    for mine, theirs in zip(got.steps, want.steps, strict=True):
        assert [step.score for step in mine] == pytest.approx([step.score for step in theirs], abs=1e-5)
    assert any(step.rejected for step in want.steps[0])
