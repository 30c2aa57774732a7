"""The claims on a real language model: `make test-real` makes it and names its folder.

A trained model is surer of its tokens, and attends to fewer of them, than any small model with random weights.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
from zoo.examination import CLOSE, definition, state_of

FOLDER = Path(os.environ.get("LVLM_SALIENCY_REAL", ".real/smollm2"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (FOLDER / "model.safetensors").exists(), reason="no real weights here: make test-real"),
]
QUESTIONS = (
    "What is the capital of France?",
    "Name three animals that live in the sea, and say one thing about each of them.",
    "Why is the sky blue?",
)
SETTINGS = {"max_new_tokens": 12, "min_new_tokens": 12}


@pytest.fixture(scope="module")
def loaded():
    return ls.load_model(str(FOLDER), device="cpu", dtype="float32")


def inputs_of(loaded, questions):
    _, tokenizer = loaded
    tokenizer.padding_side = "left"
    text = [_asked(tokenizer, question) for question in questions]
    return dict(tokenizer(text, return_tensors="pt", padding=True, add_special_tokens=False))


def _asked(tokenizer, question):
    if not tokenizer.chat_template:  # it was trained to go on with a text
        return f"{tokenizer.bos_token}Question: {question}\nAnswer:"
    message = {"role": "user", "content": question}
    return tokenizer.apply_chat_template([message], add_generation_prompt=True, tokenize=False)


@pytest.mark.parametrize("question", QUESTIONS)
def test_rows_are_those_of_the_definition(loaded, question):
    model, _ = loaded
    inputs = inputs_of(loaded, [question])
    sequences = model.generate(**inputs, **SETTINGS, do_sample=False)
    before = state_of(model)
    trace = ls.trace(model, inputs, sequences)
    assert state_of(model) == before
    n0 = inputs["input_ids"].shape[1]
    for t in (0, 3, 11):
        (wanted,) = definition(model, sequences[:, : n0 + t + 1], n0 + t)
        for axis, layer in enumerate(trace.layers):
            row = trace.rows[0, axis, t, : n0 + t].double()
            assert float((row - wanted[layer]).abs().max()) < CLOSE, (layer, t)


def test_a_padded_batch_has_the_rows_and_texts_of_each_alone(loaded):
    model, _ = loaded
    batch = inputs_of(loaded, QUESTIONS)
    method = ls.LocoRE()
    written = ls.generate(model, batch, [method], **SETTINGS, do_sample=False)
    trace = ls.trace(model, batch, written, methods=[method])
    for sample, question in enumerate(QUESTIONS):
        single = inputs_of(loaded, [question])
        alone = ls.generate(model, single, [method], **SETTINGS, do_sample=False)
        n0 = single["input_ids"].shape[1]
        assert written.sequences[sample, -12:].tolist() == alone.sequences[0, n0:].tolist()
        rows = ls.trace(model, single, alone, methods=[method]).rows
        assert float((trace.rows[sample, ..., -rows.shape[-1] :] - rows[0]).abs().max()) < 5 * CLOSE


NEUTRAL = {
    "locore": {"beta": 0},
    "dola": {"contrast": 0, "relative_top": 0},
    "tame": {"gain": 0},
    "farsight": {"sigma": float("inf")},
    "beam": {"n_beams": 1},
    "opera": {"n_beams": 1, "alpha": 0, "threshold": math.inf, "candidates": 1000},
    "dopra": {"n_beams": 1, "alpha": 0, "threshold": math.inf, "candidates": 1000},
    "causalmm": {"gamma": 0, "epsilon": 0},
    "sgrs": {"alpha": 0, "order": "greedy", "execution": "stepwise"},
}


@pytest.mark.parametrize("name", NEUTRAL)
def test_methods_that_need_no_picture_keep_their_contract(loaded, name):
    """Neutral: bit-identical. Active: text of finite logits, nothing left on the model."""
    model, _ = loaded
    inputs = inputs_of(loaded, QUESTIONS[:2])
    asked = {**SETTINGS, "do_sample": False, "output_logits": True}
    plain = model.generate(**inputs, **asked, return_dict_in_generate=True)
    before = state_of(model)
    got = ls.generate(model, inputs, [ls.method(name, **NEUTRAL[name])], **asked)
    assert torch.equal(got.sequences, plain.sequences)
    assert all(torch.equal(a, b) for a, b in zip(got.logits, plain.logits, strict=True))
    active = ls.generate(model, inputs, [ls.method(name)], **asked)
    assert all(bool(torch.isfinite(logits.amax(-1)).all()) for logits in active.logits)
    assert state_of(model) == before


def test_rejection_sampling_scores_as_a_trace_does_and_in_blocks_as_step_by_step(loaded):
    model, _ = loaded
    inputs = inputs_of(loaded, QUESTIONS[1:2])
    steps = ls.generate(model, inputs, [ls.SGRS(seed=3, execution="stepwise")], max_new_tokens=24, min_new_tokens=24)
    trace = ls.trace(model, inputs, steps)
    n0 = inputs["input_ids"].shape[1]
    axes = [trace.layers.index(layer) for layer in ls.SGRS().target_layers(model)]
    for t, step in enumerate(steps.steps[0]):
        if step.score is not None:
            wanted = float((trace.rows[0, axes, t, n0 : n0 + t].sum(-1) / t).mean())
            assert step.score == pytest.approx(wanted, abs=1e-3 * max(1.0, wanted))
    blocks = ls.generate(model, inputs, [ls.SGRS(seed=3, execution="blockwise")], max_new_tokens=24, min_new_tokens=24)
    assert torch.equal(blocks.sequences, steps.sequences)


def test_what_acts_on_pictures_says_that_there_are_none(loaded):
    model, _ = loaded
    with pytest.raises(SettingError, match="hold none"):
        ls.generate(model, inputs_of(loaded, QUESTIONS[:1]), [ls.method("vcd")], max_new_tokens=2)
