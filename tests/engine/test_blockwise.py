"""SGRS in blocks makes the decisions of SGRS step by step, whatever the block size, and counts its work honestly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.sgrs import block_size as pacing
from zoo import FAMILIES

from .reference import alone

NEVER = 10**6


def both(model, inputs, others=(), tokens=18, **settings):
    generate = {"max_new_tokens": tokens, "eos_token_id": settings.pop("eos_token_id", NEVER), "pad_token_id": 0}
    out = [
        ls.generate(model, inputs, [*others, ls.SGRS(**settings, execution=execution)], **generate)
        for execution in ("stepwise", "blockwise")
    ]
    return out


def same(steps, blocks):
    assert torch.equal(steps.sequences, blocks.sequences)
    for ours, theirs in zip(blocks.steps, steps.steps, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a.token_id, a.draws, a.rejected, a.fallback) == (b.token_id, b.draws, b.rejected, b.fallback)
            assert a.score == pytest.approx(b.score, abs=1e-5)
            assert a.threshold == pytest.approx(b.threshold, abs=1e-5)
            assert list(a.candidates) == list(b.candidates)
            for token, score in b.candidates.items():
                assert a.candidates[token] == pytest.approx(score, abs=1e-5)


ON_EVERY_FAMILY = [
    pytest.param(name, alpha, order, marks=[] if (name, alpha) == ("llava", 0.5) else pytest.mark.slow)
    for name in FAMILIES
    for alpha, order in ((0.0, "sample"), (0.5, "sample"), (0.8, "greedy"), (1.0, "sample"))
]


@pytest.mark.parametrize(("name", "alpha", "order"), ON_EVERY_FAMILY)
def test_same_decisions_on_every_family(name, alpha, order):
    family = FAMILIES[name]
    model, _ = family.build()
    if hf.is_hybrid(model):
        pytest.skip("refused, see below")
    for n, seed in ((1, 3), (2, 8)):
        steps, blocks = both(model, family.inputs(n=n), alpha=alpha, order=order, seed=seed)
        same(steps, blocks)
        assert blocks.cost.kept == steps.cost.kept
        assert blocks.cost.drafted >= blocks.cost.kept


@pytest.mark.parametrize("size", [1, 3, *(pytest.param(size, marks=pytest.mark.slow) for size in (2, 7, 40))])
def test_same_decisions_for_every_block_size(size, monkeypatch):
    monkeypatch.setattr(pacing.BlockSize, "size", lambda self: size)
    model, _ = FAMILIES["gemma3"].build()
    for seed in (0, 3):
        for alpha in (0.4, 0.9):
            inputs = FAMILIES["gemma3"].inputs(n=1, seed=seed)
            same(*both(model, inputs, alpha=alpha, seed=seed))


def test_same_decisions_under_locore():
    model, _ = FAMILIES["qwen2_vl"].build()
    same(*both(model, FAMILIES["qwen2_vl"].inputs(n=2), [ls.LocoRE(beta=1.0, window=4)], alpha=0.7, seed=1))


def test_an_end_of_text_inside_a_block_ends_that_sample():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=3)
    settings = {"max_new_tokens": 18, "eos_token_id": NEVER}
    free = ls.generate(model, inputs, [ls.SGRS(alpha=0.3, seed=2, execution="stepwise")], **settings)
    for stop in {steps[position].token_id for steps, position in zip(free.steps, (2, 5, 9), strict=True)}:
        same(*both(model, inputs, alpha=0.3, seed=2, eos_token_id=stop))


def test_few_refusals_cost_few_passes():
    """Where nothing is refused, every token is drafted once and each block costs one pass more."""
    model, _ = FAMILIES["llava"].build()
    inputs = FAMILIES["llava"].inputs(n=1)
    steps, blocks = both(model, inputs, tokens=60, alpha=0.0, seed=0)
    same(steps, blocks)
    assert steps.cost.forwards == 60
    assert blocks.cost.drafted == 60
    assert blocks.cost.forwards <= 60 + 12
    assert blocks.cost.backwards <= 12 < steps.cost.backwards


def test_auto_decides_the_same_and_streams_once():
    from transformers.generation.streamers import BaseStreamer

    class Keep(BaseStreamer):
        def __init__(self):
            self.tokens, self.ends = [], 0

        def put(self, value):
            self.tokens += value.reshape(-1).tolist()

        def end(self):
            self.ends += 1

    model, _ = FAMILIES["llava"].build()
    inputs = FAMILIES["llava"].inputs(n=1)
    keep = Keep()
    auto = ls.generate(
        model, inputs, [ls.SGRS(alpha=0.6, seed=5)], max_new_tokens=50, eos_token_id=NEVER, streamer=keep
    )
    steps, _ = both(model, inputs, tokens=50, alpha=0.6, seed=5)
    same(steps, auto)
    assert (keep.tokens, keep.ends) == (auto.sequences[0].tolist(), 1)


def test_where_blocks_cannot_be_used():
    llava, hybrid = FAMILIES["llava"], FAMILIES["qwen3_5"]
    method = ls.SGRS(execution="blockwise", seed=0)
    with pytest.raises(SettingError, match="layers without attention"):
        ls.generate(hybrid.build()[0], hybrid.inputs(n=1), [method], max_new_tokens=3)
    model, _ = llava.build()
    with pytest.raises(SettingError, match="default dynamic cache"):
        ls.generate(model, llava.inputs(n=1), [method], max_new_tokens=3, cache_implementation="static")
    with pytest.raises(SettingError, match="kept step by step only"):
        ls.generate(model, llava.inputs(n=1), [method], max_new_tokens=3, output_logits=True)
    ls.generate(hybrid.build()[0], hybrid.inputs(n=1), [ls.SGRS(seed=0)], max_new_tokens=3)


def test_a_batch_that_is_refused_at_every_step_runs_step_by_step():
    model, _ = FAMILIES["llava"].build()
    inputs = FAMILIES["llava"].inputs(n=4)
    settings = {"max_new_tokens": 80, "eos_token_id": NEVER}
    out = ls.generate(model, inputs, [ls.SGRS(alpha=1.0, seed=5)], **settings)
    refused = sum(any(steps[t].rejected for steps in out.steps) for t in range(80))
    assert refused > 60
    assert out.cost.forwards <= 80 + 60


def test_no_sample_waits_for_the_refusals_of_its_batch_mates():
    """Eight samples with a refusal now and then cost little more passes than the slowest of them alone."""
    family = FAMILIES["llava"]
    model, _ = family.build()
    settings = {"max_new_tokens": 60, "eos_token_id": NEVER}
    method = ls.SGRS(alpha=0.6, seed=5, execution="blockwise")
    together = ls.generate(model, family.inputs(n=8), [method], **settings)
    refused = [sum(bool(step.rejected) for step in steps) for steps in together.steps]
    assert sum(refused) > 2 * max(refused), "the refusals do not fall on one sample"
    assert together.cost.forwards < 60 + 60 + 8 * max(refused)
    lone = [ls.generate(model, alone(family, 8, i), [method], sample_ids=[i], **settings) for i in (0, 5)]
    for mine, other in zip((together.steps[0], together.steps[5]), lone, strict=True):
        assert [s.token_id for s in mine] == [s.token_id for s in other.steps[0]]
        assert [s.rejected for s in mine] == [s.rejected for s in other.steps[0]]


OTHERS = ("llava", "qwen2_vl", "qwen3_vl", "mistral", "gemma2")


@pytest.mark.parametrize("name", ["gemma3", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_samples_that_come_unequally_far_and_end_at_different_places(name, monkeypatch):
    """Left padding that grows and shrinks, m-RoPE, sliding layers, an end of text in a block: the decisions stay."""
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = family.inputs(n=3)
    for size, alpha, seed in ((5, 0.7, 2), (9, 0.9, 4)):
        monkeypatch.setattr(pacing.BlockSize, "size", lambda self, size=size: size)
        free, blocks = both(model, inputs, tokens=20, alpha=alpha, seed=seed)
        same(free, blocks)
        stop = free.steps[1][7].token_id
        same(*both(model, inputs, tokens=20, alpha=alpha, seed=seed, eos_token_id=stop))
        locore = [ls.LocoRE(beta=0.8, window=3)]
        same(*both(model, inputs, locore, tokens=20, alpha=alpha, seed=seed, eos_token_id=stop))


def test_a_trace_takes_the_cache_that_unequal_blocks_leave():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=3)
    method = ls.SGRS(alpha=0.7, seed=2, execution="blockwise")
    stop = ls.generate(model, inputs, [method], max_new_tokens=24, eos_token_id=NEVER).steps[1][9].token_id
    out = ls.generate(model, inputs, [method], max_new_tokens=24, eos_token_id=stop, pad_token_id=0)
    assert out.past_key_values.get_seq_length() == out.sequences.shape[1] - 1
    kept, anew = ls.trace(model, inputs, out), ls.trace(model, inputs, out.sequences)
    assert torch.allclose(kept.rows, anew.rows, atol=1e-5)


def test_methods_that_count_positions_their_own_way_keep_samples_in_step():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=3)
    same(*both(model, inputs, [ls.PAI(alpha=0.5, gamma=1.0)], tokens=24, alpha=0.7, seed=2))
    with ls.PAI(alpha=0.5, gamma=1.0)(model):
        same(*both(model, inputs, tokens=24, alpha=0.7, seed=2))


@pytest.mark.parametrize("processor", [{"repetition_penalty": 1.4}, {"no_repeat_ngram_size": 2}, {"min_new_tokens": 9}])
def test_processors_see_each_sample_at_its_own_length(processor):
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=3)
    stop = ls.generate(model, inputs, [ls.SGRS(alpha=0.7, seed=3)], max_new_tokens=20).steps[0][4].token_id
    settings = {"max_new_tokens": 20, "eos_token_id": stop, "pad_token_id": 0, **processor}
    same(
        *(
            ls.generate(model, inputs, [ls.SGRS(alpha=0.7, seed=3, execution=execution)], **settings)
            for execution in ("stepwise", "blockwise")
        )
    )


@pytest.mark.slow
@example_settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    alpha=st.floats(0.0, 1.2),
    size=st.integers(1, 20),
    n=st.integers(1, 4),
    name=st.sampled_from(["llava", "qwen2_5_vl", "gemma3", "internvl", "llama", "idefics3"]),
    order=st.sampled_from(["sample", "greedy"]),
    draws=st.integers(1, 4),
)
def test_same_decisions_whatever_is_asked(seed, alpha, size, n, name, order, draws):
    model, _ = FAMILIES[name].build()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pacing.BlockSize, "size", lambda self: size)
        inputs = FAMILIES[name].inputs(n=n, seed=seed % 4)
        same(*both(model, inputs, tokens=14, alpha=alpha, order=order, seed=seed, max_draws=draws))
