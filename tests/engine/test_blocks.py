"""`with method(model)` blocks and copies, threads, other blocks and compiled models; methods as `custom_generate`."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
import torch
from transformers import GenerationMixin, LlamaForCausalLM

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.errors import SettingError, UnsupportedModelError
from lvlm_saliency.hf import watch
from zoo import FAMILIES

from .prompt_cases import (
    FIXED,
    MODEL,
    PICTURE,
    TEXT,
    answered,
    cached,
    llama,
    prompt,
    written,
)


def test_a_pickle_of_the_model_made_inside_a_block():
    inputs, method = prompt(), TEXT["locore"]
    plain, acting = answered(MODEL, inputs), written(MODEL, inputs, method)
    with method(MODEL):
        twin = pickle.loads(pickle.dumps(MODEL))
    assert torch.equal(answered(twin, inputs), plain)
    assert torch.equal(written(twin, inputs, method), acting)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy])
@pytest.mark.parametrize("name", ["locore", "memvr"])
def test_a_copy_of_the_model_made_inside_a_block(name, copied):
    method = PICTURE[name]
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    plain = answered(model, inputs)
    with method(model):
        twin = copied(model)
        if copied is not copy.copy:  # a shallow copy has the model's own layers
            assert torch.equal(answered(twin, inputs), plain)
        acting = answered(model, inputs)
    assert not torch.equal(acting, plain)
    assert torch.equal(answered(twin, inputs), plain)
    assert twin.get_decoder().config._attn_implementation == "sdpa"
    with method(twin):
        assert torch.equal(answered(twin, inputs), acting)


def test_nothing_is_left_on_the_class():
    before = GenerationMixin.generate, dict(vars(LlamaForCausalLM)), sorted(vars(MODEL))
    other = llama(seed=4)
    plain = answered(other, prompt())
    with TEXT["locore"](MODEL), TEXT["farsight"](MODEL), TEXT["tame"](other):
        pass
    with TEXT["locore"](MODEL):
        assert torch.equal(answered(other, prompt()), plain)
        generate = type(MODEL).generate
        assert torch.equal(
            generate(MODEL, **prompt(), **FIXED)[:, 20:], GenerationMixin.generate(MODEL, **prompt(), **FIXED)[:, 20:]
        )
    assert (GenerationMixin.generate, dict(vars(LlamaForCausalLM)), sorted(vars(MODEL))) == before
    assert not watch._watchers
    assert not watch._replaced


def test_two_threads_with_prompts_of_their_own():
    method, failures = TEXT["locore"], []
    jobs = [(prompt(length), written(MODEL, prompt(length), method)) for length in (20, 11)]

    def work(inputs, want):
        for _ in range(4):
            if not torch.equal(answered(MODEL, inputs), want):
                failures.append(inputs["input_ids"].shape)

    with method(MODEL):
        threads = [threading.Thread(target=work, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def test_nested_blocks():
    outer, inner, inputs = TEXT["locore"], TEXT["farsight"], prompt()
    want = ls.generate(MODEL, inputs, [outer, inner], **FIXED).sequences
    with outer(MODEL), inner(MODEL):
        assert torch.equal(MODEL.generate(**inputs, **FIXED, **{hf.CACHE: cached(inputs["input_ids"], 7)}), want)
    with outer(MODEL):
        assert torch.equal(ls.generate(MODEL, inputs, [inner], **FIXED).sequences, want)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MODEL.generate(**prompt(), cache_implementation="paged"), "continuous batching"),
        (lambda: MODEL.generate_batch([[5, 6, 7]]), "continuous batching"),
        (lambda: MODEL.generate(**prompt(), token_healing=True), "token_healing"),
        (lambda: MODEL.generate(**prompt(), guidance_scale=1.5, max_new_tokens=2), "guidance_scale"),
    ],
)
def test_what_no_method_can_follow_is_refused(call, message):
    with pytest.raises(SettingError, match=message), TEXT["locore"](MODEL):
        call()


@pytest.mark.slow
def test_a_compiled_model():
    method, inputs = TEXT["locore"], prompt()
    torch.compiler.reset()
    model = llama()
    want, plain = written(model, inputs, method), answered(model, inputs)
    model.forward = torch.compile(model.forward, backend="eager")
    assert torch.equal(answered(model, inputs), plain)
    with method(model):
        assert torch.equal(answered(model, inputs), want)
    assert torch.equal(answered(model, inputs), plain)
    torch.compiler.reset()


@pytest.mark.parametrize("name", TEXT)
def test_attention_methods_as_custom_generate(name):
    inputs, method = prompt(), TEXT[name]
    assert torch.equal(answered(MODEL, inputs, custom_generate=method), written(MODEL, inputs, method))


def test_every_method_as_custom_generate_acts_or_says_why_not():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    reasons = {"beam": "searches over texts", "opera": "searches over texts", "dopra": "searches over texts"}
    reasons |= {"guard": "searches over texts"}
    reasons |= dict.fromkeys(("vcd", "icd", "causalmm", "pai"), "needs the inputs themselves")
    for name in ls.methods():
        method = ls.method(name, **({"seed": 3} if name in ("sgrs", "sample") else {}))
        if name in reasons:
            with pytest.raises(SettingError, match=reasons[name]):
                answered(model, inputs, custom_generate=method)
        else:
            assert torch.equal(answered(model, inputs, custom_generate=method), written(model, inputs, method)), name
    with pytest.raises(SettingError, match="beams"):
        answered(model, inputs, custom_generate=ls.LocoRE(), num_beams=2)


def test_a_model_built_under_inference_mode():
    with torch.inference_mode():
        model = llama()
    inputs, want = prompt(), written(MODEL, prompt(), TEXT["locore"])
    assert torch.equal(written(model, inputs, TEXT["locore"]), want)
    with TEXT["locore"](model):
        assert torch.equal(answered(model, inputs), want)
    with pytest.raises(UnsupportedModelError, match=r"weights .* were made under"):
        ls.generate(model, inputs, [ls.SGRS(seed=0)], **FIXED)
    with pytest.raises(UnsupportedModelError, match=r"weights .* were made under"):
        ls.trace(model, inputs, torch.cat([inputs["input_ids"], want], dim=1))
