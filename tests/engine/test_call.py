"""What a forward call of a decoder carries, under either of the names that transformers has for it, or an error."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import BaseModelOutputWithPast

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.errors import UnsupportedModelError
from zoo import FAMILIES

IDS = torch.tensor([[5, 6, 7]])


def filled(tokens=4):
    cache = DynamicCache()
    cache.update(torch.zeros(1, 1, tokens, 2), torch.zeros(1, 1, tokens, 2), 0)
    return cache


def decoder():
    config = LlamaConfig(
        hidden_size=16, num_attention_heads=2, num_hidden_layers=2, intermediate_size=16, vocab_size=20
    )
    return LlamaForCausalLM(config).eval().model


@pytest.mark.parametrize("name", hf.CACHE_NAMES)
def test_the_cache_is_found_under_either_name(name):
    cache = filled()
    assert hf.lengths(decoder(), (), {"input_ids": IDS, name: cache}) == (4, 3, cache)
    assert hf.cache_of({name: cache}) is cache
    assert hf.with_cache_named({"input_ids": IDS, name: cache})[hf.CACHE] is cache
    assert hf.cache_of(BaseModelOutputWithPast(**{hf.CACHE: cache})) is cache


def test_the_cache_is_found_where_it_comes_without_a_name():
    cache = filled()
    assert hf.lengths(decoder(), (IDS, None, None, cache), {}) == (4, 3, cache)


def test_without_a_cache_there_is_none():
    for nothing in ({}, {"past_key_values": None}, BaseModelOutputWithPast(), IDS):
        assert hf.cache_of(nothing) is None
    assert hf.lengths(decoder(), (IDS,), {}) == (0, 3, None)


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"input_ids": IDS, "kv": filled()}, "takes its cache as 'kv', a name that is not known"),
        ({"input_ids": IDS, "past_key_values": ((IDS, IDS),)}, "the cache is a tuple"),
        ({"hidden": IDS}, "neither input_ids nor inputs_embeds"),
    ],
)
def test_a_call_that_cannot_be_read_is_refused(keywords, reason):
    with pytest.raises(UnsupportedModelError, match=reason):
        hf.lengths(decoder(), (), keywords)


@pytest.mark.parametrize("name", hf.CACHE_NAMES)
@pytest.mark.parametrize("methods", [[], [ls.LocoRE(beta=1.0)]])
def test_generate_takes_a_cache_under_either_name(name, methods):
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    settings = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
    want = ls.generate(model, inputs, methods, **settings).sequences
    cache = DynamicCache(config=model.config.get_text_config())
    out = ls.generate(model, inputs, methods, **settings, **{name: cache})
    assert torch.equal(out.sequences, want)
    assert cache.get_seq_length() == want.shape[1] - 1


def test_what_generate_returns_has_the_cache_under_both_names():
    family = FAMILIES["llama"]
    out = ls.generate(family.build()[0], family.inputs(n=1), max_new_tokens=2)
    assert out.cache is out.past_key_values is hf.cache_of(out)
