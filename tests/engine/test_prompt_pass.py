"""The prompt of a trace is run for its keys and values: its pass ends where the last of them are in the cache."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.tracing import one_pass
from zoo import FAMILIES

ROWS = 5


def answer(model, inputs):
    return model.generate(**inputs, max_new_tokens=ROWS, min_new_tokens=ROWS, do_sample=False)


@pytest.mark.each_kind
def test_the_topmost_layer_and_the_head_see_the_answers_rows_alone(family):
    model, _ = family.build()
    inputs = family.inputs(n=1)
    sequences = answer(model, inputs)
    top = hf.last_to_write(model)
    assert top == len(hf.decoder_layers(model)) - 1
    axis = 1 if family.name == "glm5_next" else -2  # its streams stand behind the positions
    seen = {"layer": [], "head": []}
    handles = [
        hf.decoder_layers(model)[top].register_forward_hook(
            lambda _m, _i, out: seen["layer"].append((out[0] if isinstance(out, tuple) else out).shape[axis])
        ),
        model.get_output_embeddings().register_forward_hook(lambda _m, _i, out: seen["head"].append(out.shape[-2])),
    ]
    try:
        ls.trace(model, inputs, sequences)
    finally:
        for handle in handles:
            handle.remove()
    assert sum(seen["layer"]) == sum(seen["head"]) == ROWS


@pytest.mark.each_kind
def test_the_rest_of_the_pass_changes_nothing(family, monkeypatch):
    model, _ = family.build()
    inputs = family.inputs(n=2)
    sequences = answer(model, inputs)
    short = ls.trace(model, inputs, sequences)
    monkeypatch.setattr(hf, "last_to_write", lambda model: None)
    whole = ls.trace(model, inputs, sequences)
    for name in ("rows", "attention", "logprobs", "entropy"):
        assert torch.equal(getattr(short, name), getattr(whole, name))


@pytest.mark.parametrize("name", ["locore", "pai", "farsight"])
def test_methods_act_on_the_prompt_as_before(name, monkeypatch):
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    sequences = answer(model, inputs)
    short = ls.trace(model, inputs, sequences, methods=[ls.method(name)]).rows
    assert not torch.equal(short, ls.trace(model, inputs, sequences).rows)
    monkeypatch.setattr(hf, "last_to_write", lambda model: None)
    assert torch.equal(short, ls.trace(model, inputs, sequences, methods=[ls.method(name)]).rows)


def test_nothing_of_the_broken_off_call_is_left(monkeypatch):
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    sequences = answer(model, inputs)
    seen, block = [], one_pass._block

    def looking(model, sequences, prompt_length, rows, model_kwargs, layers, valid, state):
        cache = hf.cache_of(model_kwargs)
        seen.append((cache.get_seq_length(), vars(cache).get("update"), state.calls.forward, state.capture))
        assert not torch.is_grad_enabled()
        return block(model, sequences, prompt_length, rows, model_kwargs, layers, valid, state)

    monkeypatch.setattr(one_pass, "_block", looking)
    ls.trace(model, inputs, sequences)
    assert seen == [(inputs["input_ids"].shape[1] - 1, None, None, None)]


def test_an_error_in_the_topmost_layer_is_not_taken_for_the_end():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    sequences = answer(model, inputs)

    def fail(_module, _args):
        raise RuntimeError("out of memory, say")

    handle = hf.decoder_layers(model)[-1].register_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            ls.trace(model, inputs, sequences)
    finally:
        handle.remove()


def test_weights_that_are_put_back_when_a_module_returns_are_let_return(monkeypatch):
    model, _ = FAMILIES["llava"].build()
    top = len(hf.decoder_layers(model)) - 1
    for places, expected in (({"": "cpu"}, top), ({"a": 0, "b": 1}, top), ({"a": 0, "b": "disk"}, None)):
        monkeypatch.setattr(model, "hf_device_map", places, raising=False)
        assert hf.last_to_write(model) == expected
