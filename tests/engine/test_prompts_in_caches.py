"""What a `with method(model)` block takes for the prompt where a cache of the caller's holds a part of it, or all."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import DynamicCache, StaticCache

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.errors import PromptError, SettingError
from lvlm_saliency.interventions.farsight import FarSight
from zoo import FAMILIES, MORE

from .prompt_cases import FIXED, MODEL, PICTURE, TEXT, answered, cached, prompt, usual, written


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
