"""What a `with method(model)` block takes for the prompt: the tokens of `ls.generate`, however the prompt comes in."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.errors import SettingError
from zoo import FAMILIES
from zoo.vision import prompt_embeddings

from .prompt_cases import (
    FIXED,
    IN_PIECES,
    MODEL,
    PICTURE,
    SETTINGS,
    TEXT,
    answered,
    by_hand,
    cached,
    prompt,
    unedited,
    usual,
    written,
)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", TEXT)
def test_settings_of_generate(name, setting):
    inputs, method, more = prompt(), TEXT[name], SETTINGS[setting]
    if name == "tame" and setting == "chunks":
        with pytest.raises(SettingError, match=IN_PIECES), method(MODEL):
            answered(MODEL, inputs, **more)
        return
    want = written(MODEL, inputs, method, **more)
    with method(MODEL):
        assert torch.equal(answered(MODEL, inputs, **more), want)
    if setting not in ("no cache", "beams"):  # these are not meant to change a token
        assert torch.equal(want, usual(name))
    assert not torch.equal(want, unedited(setting)), "the method changes the text"


@pytest.mark.parametrize("name", TEXT)
def test_embeddings_in_place_of_ids(name):
    inputs, method = prompt(), TEXT[name]
    embeddings = MODEL.get_input_embeddings()(inputs["input_ids"]).detach()
    want = usual(name)
    with method(MODEL):
        assert torch.equal(answered(MODEL, {"inputs_embeds": embeddings}), want)
        assert torch.equal(answered(MODEL, {**inputs, "inputs_embeds": embeddings}), want)
        cache = cached(inputs["input_ids"], 9)
        assert torch.equal(answered(MODEL, {"inputs_embeds": embeddings}, **{hf.CACHE: cache}), want)


def test_several_calls_and_answers_in_one_block():
    method = TEXT["locore"]
    several = [prompt(20), prompt(9, 2), prompt(14)]
    with method(MODEL):
        made = [answered(MODEL, inputs) for inputs in several]
    assert all(torch.equal(one, written(MODEL, inputs, method)) for one, inputs in zip(made, several, strict=True))
    inputs, more = prompt(), {"do_sample": True, "num_return_sequences": 3}
    torch.manual_seed(0)
    want = written(MODEL, inputs, method, **more)
    torch.manual_seed(0)
    with method(MODEL):
        assert torch.equal(answered(MODEL, inputs, **more), want)


def test_padding_that_only_the_ids_show():
    """`generate` infers a mask from padding; so does the block."""
    inputs = prompt(12, 2)
    inputs["input_ids"][1, :4], inputs["attention_mask"][1, :4] = 0, 0
    want = written(MODEL, inputs, TEXT["tame"])
    with TEXT["tame"](MODEL):
        assert torch.equal(answered(MODEL, {"input_ids": inputs["input_ids"]}), want)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", TEXT)
def test_forward_calls_by_hand(name, mode):
    method, inputs = TEXT[name], prompt()
    want = written(MODEL, inputs, method, min_new_tokens=0, eos_token_id=10**6)
    with method(MODEL), mode():
        assert torch.equal(by_hand(MODEL, inputs["input_ids"]), want)
        assert torch.equal(by_hand(MODEL, inputs["input_ids"], DynamicCache(config=MODEL.config)), want)


def test_embeddings_with_pictures():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    embedded = prompt_embeddings(model, inputs)
    for name, method in PICTURE.items():
        with method(model):
            both = answered(model, {"inputs_embeds": embedded, "input_ids": inputs["input_ids"]})
        assert torch.equal(both, written(model, inputs, method))
        if name == "locore":
            with method(model):
                alone = answered(model, {"inputs_embeds": embedded})
            assert torch.equal(alone, both)
        else:
            with pytest.raises(SettingError, match="only the ids of the whole prompt tell"), method(model):
                answered(model, {"inputs_embeds": embedded})


def test_a_trace_does_not_reuse_a_prompt_that_a_method_has_edited():
    inputs = prompt()
    for name in ("farsight", "locore"):
        out = ls.generate(MODEL, inputs, [TEXT[name]], **FIXED, return_dict_in_generate=True)
        torch.testing.assert_close(
            ls.trace(MODEL, inputs, out).rows, ls.trace(MODEL, inputs, out.sequences).rows, atol=1e-5, rtol=0
        )


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(sorted(TEXT)),
    length=st.integers(2, 24),
    held=st.integers(0, 30),
    where=st.sampled_from(["none", "before", "inside", "other method", "earlier turn", "copy"]),
    form=st.sampled_from(["ids", "embeddings", "both"]),
    setting=st.sampled_from(["nothing", "no cache", "chunks", "prompt lookup", "assistant"]),
    seed=st.integers(0, 99),
)
def test_any_way_to_bring_a_prompt_into_a_block(name, length, held, where, form, setting, seed):
    """The tokens of `ls.generate` on the same ids, or an error of ours."""
    method, more, short = TEXT[name], dict(SETTINGS[setting]), {"max_new_tokens": 5, "min_new_tokens": 5}
    inputs = prompt(length, seed=seed)
    ids, held = inputs["input_ids"], min(held, length)
    if where == "earlier turn":
        with method(MODEL):
            cache = DynamicCache(config=MODEL.config)
            ids = MODEL.generate(**inputs, **FIXED, **{hf.CACHE: cache})
        ids = torch.cat([ids, prompt(4, seed=seed + 1)["input_ids"]], dim=1)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    elif where == "other method":
        with TEXT["farsight-horizon"](MODEL):
            cache = cached(ids, held)
    else:
        cache = cached(ids, held)
    want = written(MODEL, inputs, method, **short)
    if setting in ("no cache", "prompt lookup", "assistant") and name != "farsight":
        assert torch.equal(written(MODEL, inputs, method, **short, **more), want)
    if setting == "no cache":
        want, where = written(MODEL, inputs, method, **short, **more), "none"
    if form != "ids":
        embeddings = MODEL.get_input_embeddings()(ids).detach()
        inputs = {"inputs_embeds": embeddings} if form == "embeddings" else {**inputs, "inputs_embeds": embeddings}
    if where != "none":
        more[hf.CACHE] = cache
    # assistants and chunks of transformers do not take embeddings, and TAME no chunks
    refused = form != "ids" and setting in ("chunks", "prompt lookup", "assistant")
    refused = refused or (setting == "chunks" and name == "tame" and ids.shape[1] > 7)
    with pytest.raises(SettingError) if refused else nullcontext(), method(MODEL):
        if where == "inside":
            more[hf.CACHE] = cached(ids, held)
        if where == "copy":
            more[hf.CACHE] = copy.deepcopy(cached(ids, held))
        got = answered(MODEL, inputs, **short, **more)
        assert torch.equal(got, want)
