"""What a `with method(model)` block takes for the prompt: the tokens of `ls.generate`, however the prompt comes in."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import DynamicCache, StaticCache

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.errors import PromptError, SettingError
from lvlm_saliency.interventions.farsight import FarSight
from zoo import FAMILIES, MORE

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


@pytest.mark.parametrize("length", [8, 19, 20])
@pytest.mark.parametrize("name", TEXT)
def test_a_part_of_the_prompt_in_a_cache(name, length):
    """Cached before the block, inside it, as a copy; a part, all but the last token, all of it."""
    inputs, method, want = prompt(), TEXT[name], usual(name)
    before = cached(inputs["input_ids"], length)
    with method(MODEL):
        inside = cached(inputs["input_ids"], length)
        for cache in (copy.deepcopy(inside), before, inside):
            assert torch.equal(answered(MODEL, inputs, **{hf.CACHE: cache}), want)
    again = ls.generate(MODEL, inputs, [method], **FIXED, **{hf.CACHE: cached(inputs["input_ids"], length)})
    assert torch.equal(again.sequences[:, 20:], want)


@pytest.mark.parametrize("name", TEXT)
def test_three_turns_over_one_cache(name):
    method, cache = TEXT[name], DynamicCache(config=MODEL.config)
    ids = prompt()["input_ids"]
    turns = []
    with method(MODEL):
        for turn in range(3):
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            turns.append((inputs, MODEL.generate(**inputs, **FIXED, **{hf.CACHE: cache})))
            ids = torch.cat([turns[-1][1], prompt(6, seed=5 + turn)["input_ids"]], dim=1)
    for inputs, made in turns:
        assert torch.equal(made[:, inputs["input_ids"].shape[1] :], written(MODEL, inputs, method))
    # the cache that `ls.generate` returns remembers as well which rows a method wrote
    out = ls.generate(MODEL, prompt(), [method], **FIXED)
    ids = torch.cat([out.sequences, prompt(6, seed=5)["input_ids"]], dim=1)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    more = ls.generate(MODEL, inputs, [method], **FIXED, past_key_values=out.past_key_values)
    assert torch.equal(more.sequences[:, ids.shape[1] :], written(MODEL, inputs, method))


def test_only_the_tokens_behind_the_cache():
    inputs, method = prompt(), TEXT["locore"]
    new = {"input_ids": inputs["input_ids"][:, 15:], "attention_mask": inputs["attention_mask"]}
    want = written(MODEL, inputs, method)
    with method(MODEL):
        assert torch.equal(answered(MODEL, new, **{hf.CACHE: cached(inputs["input_ids"], 15)}), want)
    with pytest.raises(SettingError, match="pass the whole text as input_ids"), TEXT["tame"](MODEL):
        answered(MODEL, new, **{hf.CACHE: cached(inputs["input_ids"], 15)})
    with pytest.raises(SettingError, match="the cache holds 15 tokens and the prompt is 5"), method(MODEL):
        answered(MODEL, {"input_ids": new["input_ids"]}, **{hf.CACHE: cached(inputs["input_ids"], 15)})


def test_a_cache_that_cannot_take_tokens_back():
    inputs = prompt()
    cache = StaticCache(config=MODEL.config, max_cache_len=64)
    with torch.no_grad():
        MODEL(input_ids=inputs["input_ids"][:, :8], **{hf.CACHE: cache}, use_cache=True)
    want = written(MODEL, inputs, TEXT["locore"])
    with TEXT["locore"](MODEL):
        assert torch.equal(answered(MODEL, inputs, **{hf.CACHE: copy.deepcopy(cache)}), want)
    with pytest.raises(SettingError, match="StaticCache cannot take them back"), TEXT["tame"](MODEL):
        answered(MODEL, inputs, **{hf.CACHE: cache})


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


def test_by_hand_what_cannot_be_told_is_refused():
    ids = prompt()["input_ids"]
    before = cached(ids, 12)
    with TEXT["locore"](MODEL), torch.no_grad():
        cache = cached(ids, 12)
        copied = copy.deepcopy(cache)
        MODEL(input_ids=ids[:, 12:13], **{hf.CACHE: cache})
        MODEL(input_ids=ids[:, 12:13], **{hf.CACHE: copied})
        with pytest.raises(SettingError, match="7 tokens came in over a cache that holds some"):
            MODEL(input_ids=ids[:, 13:], **{hf.CACHE: cache})
        with pytest.raises(SettingError, match="a cache that was filled outside of the block"):
            MODEL(input_ids=ids[:, 12:13], **{hf.CACHE: before})


@pytest.mark.parametrize("name", PICTURE)
@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_a_cache_that_holds_the_picture(family, name):
    family, method = FAMILIES[family], PICTURE[name]
    model, _ = family.build()
    inputs = dict(family.inputs(n=1))
    length = inputs["input_ids"].shape[1]
    want = written(model, inputs, method)

    def held():
        cache = DynamicCache(config=hf.text_config(model))
        model.generate(**inputs, max_new_tokens=1, do_sample=False, **{hf.CACHE: cache})
        cache.crop(-3)
        return cache

    text = {name: inputs[name] for name in inputs if name not in ("pixel_values", "image_grid_thw")}
    if name in ("eah", "memvr"):  # these read the prompt anew
        calls = [(inputs, None), (text, "pass their pictures")]
    else:
        calls = [(text, None), (inputs, "already holds the prompt's .* image tokens")]
    for given_inputs, message in calls:
        if message is None:
            got = ls.generate(model, given_inputs, [method], **FIXED, **{hf.CACHE: held()}).sequences[:, length:]
            assert torch.equal(got, want)
            with method(model):
                assert torch.equal(answered(model, given_inputs, **{hf.CACHE: held()}), want)
            continue
        with pytest.raises(PromptError, match=message):
            ls.generate(model, given_inputs, [method], **FIXED, **{hf.CACHE: held()})
        cache = held()
        with pytest.raises(PromptError, match=message), method(model):
            answered(model, given_inputs, **{hf.CACHE: cache})


def test_embeddings_with_pictures():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    seen = []
    handle = model.get_decoder().register_forward_pre_hook(
        lambda _m, _a, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    with torch.no_grad():
        model(**inputs)
    handle.remove()
    for name, method in PICTURE.items():
        with method(model):
            both = answered(model, {"inputs_embeds": seen[0], "input_ids": inputs["input_ids"]})
        assert torch.equal(both, written(model, inputs, method))
        if name == "locore":
            with method(model):
                alone = answered(model, {"inputs_embeds": seen[0]})
            assert torch.equal(alone, both)
        else:
            with pytest.raises(SettingError, match="only the ids of the whole prompt tell"), method(model):
                answered(model, {"inputs_embeds": seen[0]})


def test_contrast_over_a_cache_of_the_callers():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    for name in ("vcd", "icd", "pai", "causalmm"):
        method = ls.method(name)
        for brought in ({**inputs, hf.CACHE: cached(inputs["input_ids"][:, :2], 2, model)},):
            with pytest.raises(SettingError, match="reads a second prompt"):
                ls.generate(model, brought, [method], **FIXED)
    vcd = ls.method("vcd", seed=3)
    empty = {**inputs, hf.CACHE: DynamicCache(config=hf.text_config(model))}
    assert torch.equal(
        ls.generate(model, empty, [vcd], **FIXED).sequences, ls.generate(model, inputs, [vcd], **FIXED).sequences
    )


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


@pytest.mark.parametrize("name", ["smolvlm", "qwen3_5", pytest.param("ovis2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("inside", [False, True])
def test_a_padded_batch_over_a_cache_with_its_own_mask(name, inside):
    """The cache is made of the padded prompts' beginnings, at the positions that `generate` gives them."""
    family = {**FAMILIES, **MORE}[name]
    model, _ = family.build()
    inputs = dict(family.inputs(n=2))
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    assert not mask.all()
    length = ids.shape[1] - 5
    part = {k: v[:, :length] if k in ("input_ids", *hf.PER_TOKEN) else v for k, v in inputs.items()}
    positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, :length]

    def cache():
        with torch.no_grad():
            return hf.cache_of(model(**part, position_ids=positions, use_cache=True))

    method, asked = ls.LocoRE(beta=1.5), {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    rest = {"input_ids": ids, "attention_mask": mask}
    want = ls.generate(model, inputs, [method], **asked).sequences
    held = None if inside else cache()
    with method(model):
        got = model.generate(**rest, **{hf.CACHE: cache() if inside else held}, **asked)
    assert torch.equal(got, want)
    assert not torch.equal(want, model.generate(**inputs, **asked)), "the method changes the text"
    edits = FarSight(sigma=0.05, horizon=64)  # edits the prompt's rows: what is in the cache has to be read anew
    with edits(model), pytest.raises((PromptError, SettingError)):
        model.generate(**rest, **{hf.CACHE: cache()}, **asked)
