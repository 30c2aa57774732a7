"""Models and caches that do something else than their calls say: an error with the reason, never a number.

A release of transformers, or code on the Hub, may rename, skip or keep things elsewhere. Each stand-in does one.
"""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaDecoderLayer, LlamaModel

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.errors import UnsupportedModelError
from lvlm_saliency.hf import caches
from zoo import decoders

SIZES = {
    "vocab_size": 60, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2,
    "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
FIXED = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
IDS = torch.randint(5, 55, (1, 16), generator=torch.Generator().manual_seed(0))
INPUTS = {"input_ids": IDS[:, :10], "attention_mask": torch.ones(1, 10, dtype=torch.long)}
WINDOW = 5
ACTING = ls.LocoRE(beta=3.0)


def llama():
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    for weights in model.parameters():
        if weights.dim() > 1:
            torch.nn.init.normal_(weights, std=0.5)
    return model


def mistral():
    torch.manual_seed(0)
    return MistralForCausalLM(MistralConfig(**SIZES, sliding_window=WINDOW)).eval()


def in_a_block(model, **more):
    with ACTING(model):
        return model.generate(**INPUTS, **FIXED, **more)


EDITING = {"block": in_a_block, "generate": lambda m, **more: ls.generate(m, INPUTS, [ACTING], **FIXED, **more)}
CAPTURING = {
    "sgrs": lambda m, **more: ls.generate(m, INPUTS, [ls.SGRS(layers=[0, 1, 2], seed=0)], **FIXED, **more),
    "trace": lambda m: ls.trace(m, INPUTS, IDS),
}
ALL = {**EDITING, **CAPTURING}


# --- keys that cannot be those of the tokens ------------------------------------------------------------------------


class Forgetful(DynamicLayer):
    """Counts every token and keeps the last eight, as a layer that slides would, without saying so."""

    seen = 0

    def update(self, key_states, value_states, *args, **kwargs):
        self.seen += key_states.shape[-2]
        super().update(key_states, value_states, *args, **kwargs)
        self.keys, self.values = self.keys[:, :, -8:], self.values[:, :, -8:]
        return self.keys, self.values

    def get_seq_length(self):
        return self.seen


class TooShort(DynamicSlidingWindowLayer):
    """Slides, and lets go of keys that are inside the window."""

    def update(self, key_states, value_states, *args, **kwargs):
        held = self.get_seq_length()
        found = super().update(key_states, value_states, *args, **kwargs)
        return tuple(x[:, :, 2 - WINDOW :] for x in found) if held else found


class Echoing(DynamicLayer):
    """Gives its first key once more."""

    def update(self, key_states, value_states, *args, **kwargs):
        return tuple(torch.cat([x[:, :, :1], x], 2) for x in super().update(key_states, value_states, *args, **kwargs))


class HoldsItsCache(LlamaModel):
    """Keeps the cache in itself, so that no call carries it."""

    memory = None

    def forward(self, input_ids=None, past_key_values=None, cache=None, **kwargs):
        self.memory = self.memory or DynamicCache(config=self.config)
        return super().forward(input_ids, **{**kwargs, hf.CACHE: self.memory})


def of_layers(kind, *args):
    def made(model):
        cache = DynamicCache(config=model.config)
        cache.layers = [kind(*args) for _ in cache.layers]
        return cache

    return made


CACHES = {
    "fewer": (llama, of_layers(Forgetful), "attends to 8 keys where there are 1[0-9] tokens"),
    "fewer than the window": (mistral, of_layers(TooShort, WINDOW), "attends to 3 keys where there are .* window of 5"),
    "more": (llama, of_layers(Echoing), "attends to 1[0-9] keys where there are (9|1[0-9]) tokens"),
}


@pytest.mark.parametrize("way", ALL)
@pytest.mark.parametrize("name", CACHES)
def test_a_number_of_keys_that_contradicts_the_tokens(name, way, monkeypatch):
    build, made, reason = CACHES[name]
    model = build()
    monkeypatch.setattr(caches, "new_cache", made)
    brought = {} if way == "trace" else {hf.CACHE: made(model)}
    with pytest.raises(UnsupportedModelError, match=reason):
        ALL[way](model, **brought)


def test_layers_of_a_kind_that_hold_their_keys_in_different_ways():
    """What the first of them found is not taken for the second, whose cache has let go of keys."""
    model = llama()
    cache = DynamicCache(config=model.config)
    cache.layers = [DynamicSlidingWindowLayer(8), Forgetful(), DynamicSlidingWindowLayer(8)]
    model.generate(**INPUTS, max_new_tokens=1, **{hf.CACHE: cache})
    cache.layers[1].keys = cache.layers[1].keys[:, :, -7:]
    cache.layers[1].values = cache.layers[1].values[:, :, -7:]
    with pytest.raises(UnsupportedModelError, match="layer 1 attends to 8 keys where there are 11"):
        ls.generate(model, {"input_ids": IDS[:, :11]}, [ACTING], max_new_tokens=1, **{hf.CACHE: cache})


@pytest.mark.parametrize("way", ["block", "trace"])
def test_a_cache_that_no_call_carries(way):
    model = llama()
    model.model.__class__ = HoldsItsCache
    model(input_ids=IDS[:, :3])
    with pytest.raises(UnsupportedModelError, match="its keys are not those of the tokens"):
        ALL[way](model)


def test_sliding_and_static_caches_are_what_they_say():
    for model, kinds in ((mistral(), [None, "static"]), (llama(), [None, "static"])):
        want = ls.generate(model, INPUTS, [ACTING], **FIXED).sequences
        for kind in kinds:
            assert torch.equal(in_a_block(model, cache_implementation=kind), want)


# --- layers that are not called -------------------------------------------------------------------------------------


class Skipped(LlamaDecoderLayer):
    def forward(self, hidden_states, **kwargs):
        return hidden_states


class SkippedForSingleTokens(LlamaDecoderLayer):
    def forward(self, hidden_states, **kwargs):
        return hidden_states if hidden_states.shape[1] == 1 else super().forward(hidden_states, **kwargs)


class Fused(LlamaAttention):
    def forward(self, hidden_states, **kwargs):
        """Has a way of its own beside ALL_ATTENTION_FUNCTIONS, and takes it."""
        return self.o_proj(self.q_proj(hidden_states)), None


def with_layer(number, kind):
    model = llama()
    layer = model.model.layers[number]
    (layer.self_attn if issubclass(kind, LlamaAttention) else layer).__class__ = kind
    return model


@pytest.mark.parametrize("way", ALL)
@pytest.mark.parametrize("kind", [Skipped, Fused])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_layer_whose_attention_is_never_called(number, kind, way):
    reason = f"attention of layer {number} was not called in a forward call"
    if number == 0:  # transformers takes the length of the cache from the first layer's
        reason += "|lacks 10 tokens that should be in it|its keys are not those of the tokens"
    with pytest.raises(UnsupportedModelError, match=reason):
        ALL[way](with_layer(number, kind))


@pytest.mark.parametrize("way", ["block", "sgrs"])
def test_a_layer_that_is_called_now_and_then(way):
    with pytest.raises(UnsupportedModelError, match="attention of layer 1 was not called"):
        ALL[way](with_layer(1, SkippedForSingleTokens))


def test_several_layers_are_named():
    model = with_layer(1, Skipped)
    model.model.layers[2].__class__ = Skipped
    with pytest.raises(UnsupportedModelError, match="attention of layers 1, 2 was not called"):
        in_a_block(model)


def test_a_layer_that_nobody_asks_for_may_be_skipped():
    model = with_layer(1, Skipped)
    assert ls.trace(model, INPUTS, IDS, layers=[0, 2]).layers == [0, 2]
    plain = model.generate(**INPUTS, **FIXED)
    assert torch.equal(ls.generate(model, INPUTS, **FIXED).sequences, plain)
    greedy = ls.SGRS(layers=[0, 2], alpha=0, order="greedy")
    assert torch.equal(ls.generate(model, INPUTS, [greedy], **FIXED).sequences, plain)


def test_a_model_that_drafts_for_itself_leaves_early_by_leave():
    model = llama()
    want = ls.generate(model, INPUTS, [ACTING], **FIXED).sequences
    assert torch.equal(in_a_block(model, assistant_early_exit=1), want)


def test_blocks_inside_one_another_look_at_the_call_once():
    model = llama()
    want = ls.generate(model, INPUTS, [ACTING], **FIXED).sequences
    with ACTING(model), ls.LocoRE(beta=0.0)(model):
        assert torch.equal(model.generate(**INPUTS, **FIXED), want)
    model = with_layer(1, Skipped)
    with pytest.raises(UnsupportedModelError, match="was not called"), ACTING(model):
        ls.generate(model, INPUTS, [ls.SGRS(layers=[0])], **FIXED)


# --- layers that attend twice ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", EDITING)
def test_an_edited_layer_that_attends_twice(way):
    model = decoders.build("diffllama")
    with pytest.raises(UnsupportedModelError, match="layer 0 attends more than once in a forward call"):
        EDITING[way](model)
    plain = model.generate(**INPUTS, **FIXED)
    with ls.LocoRE(beta=0.0)(model):
        assert torch.equal(model.generate(**INPUTS, **FIXED), plain)
