"""A small language model, methods, settings and prompts for the tests of what a block takes for the prompt."""

from __future__ import annotations

import functools

import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

import lvlm_saliency as ls
from lvlm_saliency import hf

FIXED = {"max_new_tokens": 10, "min_new_tokens": 10, "do_sample": False}
TEXT = {
    "locore": ls.LocoRE(beta=3.0, window=6),
    "locore-logit": ls.LocoRE(beta=3.0, window=6, space="logit"),
    "locore-unnormalised": ls.LocoRE(beta=3.0, window=6, space="unnormalised"),
    "farsight": ls.method("farsight", sigma=0.05),
    "farsight-horizon": ls.method("farsight", sigma=0.05, horizon=64),
    "tame": ls.method("tame", gain=4.0),
}
PICTURE = {
    "locore": TEXT["locore"],
    "pai": ls.method("pai", alpha=3.0, gamma=1),
    "eah": ls.method("eah", threshold=1e-4),
    "memvr": ls.method("memvr", alpha=0.9, gamma=0.5),
}
IN_PIECES = "looks at the prompt as a whole"


def llama(seed=0, layers=3):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=200, hidden_size=32, intermediate_size=48, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1:
                weights.copy_(torch.randn_like(weights) * (1.0 if "embed" in name else 0.5))
    return model


MODEL = llama()
ASSISTANT = llama(seed=0, layers=2)


def prompt(length=20, batch=1, seed=1):
    ids = torch.randint(5, 190, (batch, length), generator=torch.Generator().manual_seed(seed))
    ids[:, length // 2 :] = ids[:, : length - length // 2].clone()  # something to look up
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def cached(ids, length, model=MODEL):
    """A cache that holds the first tokens of these ids."""
    cache = DynamicCache(config=model.config)
    if length:
        with torch.no_grad():
            model(input_ids=ids[:, :length], **{hf.CACHE: cache}, use_cache=True)
    return cache


def written(model, inputs, method, **more):
    """The answer that `ls.generate` writes to these ids, without any cache of the caller's."""
    made = ls.generate(model, inputs, [method] if method else [], **{**FIXED, **more}).sequences
    return made[:, inputs["input_ids"].shape[1] :]


def answered(model, inputs, **more):
    """The answer that the model itself writes."""
    made = model.generate(**inputs, **{**FIXED, **more})
    return made[:, inputs["input_ids"].shape[1] :] if "input_ids" in inputs else made


SETTINGS = {
    "nothing": {},
    "no cache": {"use_cache": False},
    "chunks": {"prefill_chunk_size": 7},
    "prompt lookup": {"prompt_lookup_num_tokens": 3},
    "assistant": {"assistant_model": ASSISTANT},
    "beams": {"num_beams": 3},
    "static cache": {"cache_implementation": "static"},
}


@functools.cache
def usual(name):
    """The answer to `prompt()` under a method of `TEXT`, with the usual settings."""
    return written(MODEL, prompt(), TEXT[name])


@functools.cache
def unedited(setting):
    """The model's own answer to `prompt()` with these `SETTINGS`, without a method."""
    return answered(MODEL, prompt(), **SETTINGS[setting])


def by_hand(model, ids, cache=None, **more):
    """Greedy decoding by forward calls: the prompt at once, then token by token."""
    out = model(input_ids=ids, **{hf.CACHE: cache}, use_cache=True, **more)
    made = []
    for _ in range(10):
        made.append(out.logits[:, -1].argmax(-1, keepdim=True))
        out = model(input_ids=made[-1], **{hf.CACHE: hf.cache_of(out)}, use_cache=True)
    return torch.cat(made, dim=1)
