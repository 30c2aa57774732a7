"""The guard and SGRS on hybrids: a short convolution, a gated delta rule, a state space beside attention.

Their states cannot be cut, so the guard goes back to a copy and reads again: what stands in the end must be what the
model would have written behind its own words, and SGRS must score tokens as a trace does.
"""

from __future__ import annotations

import functools

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.guard.verdicts import Random, Rates
from zoo import decoders
from zoo.examination import prompt_of, state_of, text
from zoo.tokenizer import build_tokenizer

HYBRIDS = ("lfm2", "qwen3_5_text", "bamba", "jamba")
"""Short convolutions; the gated delta rule; Mamba 2 and Mamba beside attention."""


@functools.cache
def tokenizer():
    return build_tokenizer()


@functools.cache
def hybrid(name):
    model = decoders.build(name, vocab_size=len(tokenizer()), unpadded_vocab_size=len(tokenizer()))
    assert hf.is_hybrid(model)
    return model


@pytest.fixture
def words(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("\n".join("abcdefghijklmnopqrstuvwxyz"))
    return str(file)


@pytest.mark.parametrize("name", HYBRIDS)
def test_the_guard_goes_back_on_a_hybrid(name, words):
    model, inputs = hybrid(name), prompt_of(text(seed=3))
    guard = ls.Guard(words=words, verdicts=Random(Rates((1.0,), 1.0)), seed=1, total_tries=8)
    before = state_of(model)
    out = ls.generate(model, inputs, [guard], processor=tokenizer(), max_new_tokens=24, output_logits=True)
    assert state_of(model) == before
    assert out.cost.rollbacks > 0
    # Every row of logits is that of one pass over the text as it stands: nothing of what was taken back is left in a
    # recurrent state.
    with torch.no_grad():
        whole = model(input_ids=out.sequences, use_cache=False).logits[0]
    length = inputs["input_ids"].shape[1]
    for at, logits in enumerate(out.logits[: len(out.steps[0])]):
        torch.testing.assert_close(logits[0], whole[length - 1 + at].float(), atol=2e-3, rtol=1e-3)
    flag = ls.Guard(words=words, verdicts=guard.verdicts, action="flag")
    plain = ls.generate(model, inputs, max_new_tokens=12)
    assert torch.equal(
        ls.generate(model, inputs, [flag], processor=tokenizer(), max_new_tokens=12).sequences, plain.sequences
    )


@pytest.mark.parametrize("name", HYBRIDS)
def test_sgrs_scores_on_a_hybrid_are_those_of_a_trace(name):
    model, inputs = hybrid(name), prompt_of(text(seed=3))
    gate = ls.SGRS(alpha=0.7, top_k=4, seed=3, execution="stepwise")
    out = ls.generate(model, inputs, [gate], max_new_tokens=8, suppress_tokens=[0])
    trace = ls.trace(model, inputs, out.sequences)
    length, axes = inputs["input_ids"].shape[1], [trace.layers.index(layer) for layer in gate.target_layers(model)]
    scored = [(at, step.score) for at, step in enumerate(out.steps[0]) if step.score is not None]
    assert scored
    for at, score in scored:
        wanted = float((trace.rows[0, axes, at, length : length + at].sum(-1) / at).mean())
        assert score == pytest.approx(wanted, abs=1e-3 * max(1.0, abs(wanted)))
