"""The language model inside a model: its decoder, its configuration, its layers, the norm and the head."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import transformers

from lvlm_saliency.errors import UnsupportedModelError
from lvlm_saliency.hf import apart
from lvlm_saliency.hf.backends import BACKENDS, NAMES
from lvlm_saliency.hf.layers import HELD_STATES, NO_LAYERS, Layers, attends, layers_of, stack_of

PREFIX_LM = {"paligemma": "its prompt attends to itself in both directions, so a prompt row is not a causal row"}
FINAL_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "final_norm", "embedding_norm")
"""What decoders call the norm between their last layer and the head."""

_eager_towers: dict[int, tuple[Any, ...]] = {}  # config id -> (config, its own backend, how many blocks are open)
_towers_lock = threading.Lock()


def supported_decoder(model: Any) -> torch.nn.Module:
    """The language model's decoder stack, checked to be one whose attention goes through our function.

    Raises:
        UnsupportedModelError: naming the reason.
    """
    kind = type(model).__name__
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        raise UnsupportedModelError(
            f"{kind} puts a learned prompt before the text, positions that belong to no token: it cannot be traced, "
            "and the model inside it writes another text"
        )
    if not isinstance(model, transformers.PreTrainedModel):
        raise UnsupportedModelError(
            f"{kind} is not a transformers model: pass the PreTrainedModel itself, not a wrapper"
        )
    if model.config.is_encoder_decoder:
        raise UnsupportedModelError(f"{kind} is an encoder-decoder; only decoder-only language models can be traced")
    decoder = decoder_of(model)
    if decoder is None:
        raise UnsupportedModelError(f"{kind} has no decoder stack (get_decoder() finds none)")
    text = text_config(model)
    if getattr(text, "cross_attention_layers", None):
        raise UnsupportedModelError(
            f"{kind} reads pictures through cross-attention layers: its pictures have no place in the attention rows"
        )
    if (reason := PREFIX_LM.get(model.config.model_type)) is not None:
        raise UnsupportedModelError(f"{kind} is a prefix language model: {reason}")
    backend = getattr(decoder.config, "_attn_implementation", None)
    if backend not in NAMES and backend not in BACKENDS:
        raise UnsupportedModelError(
            f"attention backend {backend!r} is not supported: load the model with attn_implementation='sdpa'"
        )
    layers = layers_of(decoder, text)
    if not layers.numbers:
        remote = not type(decoder).__module__.startswith("transformers.")
        reason = (
            "its code is not part of transformers and does not use the attention interface"
            if remote
            else "none of its layers calls the attention interface (attention of another make, linear attention or a "
            "state space model)"
        )
        raise UnsupportedModelError(f"the attention of {kind} cannot be captured: {reason}")
    if layers.obstacle:
        raise UnsupportedModelError(f"the attention of {kind} cannot be captured: {layers.obstacle}")
    if not getattr(model, "_supports_default_dynamic_cache", lambda: True)():
        raise UnsupportedModelError(
            f"{kind} keeps what it has read in a cache of its own kind, which cannot be cut or kept out of a graph here"
        )
    return decoder


def decoder_of(model: Any) -> torch.nn.Module | None:
    """The decoder: the module with the list of layers, however deeply nested; None where there is none."""
    outer = [model.get_decoder(), getattr(model, "base_model", None)]  # some heads have a part that they call decoder
    for found in outer:
        if (inner := _inside(found)) is not None:
            return inner
    return next((found for found in outer if found is not None and found is not model and attends(found)), None)


def _inside(found: torch.nn.Module | None) -> torch.nn.Module | None:
    while found is not None and stack_of(found) is None:
        decoder = getattr(found, "get_decoder", None)
        inner = None if decoder is None else decoder()
        found = getattr(found, "model", None) if inner is None or inner is found else inner
    return found


def text_config(model: Any) -> Any:
    """The language model's configuration (the model's own where there is no other)."""
    return model.config.get_text_config(decoder=True)


def most_heads(model: Any) -> int:
    """The number of query heads of the decoder layer that has most of them (in Step 3.7 they differ)."""
    config = text_config(model)
    if getattr(config, "is_heterogeneous", False):
        return max(int(layer.num_attention_heads) for layer in config.per_layer_config)
    return int(getattr(config, "num_attention_heads", 1))


def language_configs(model: Any) -> list[Any]:
    """The configuration objects that choose the language model's attention and masks, and only those."""
    found: list[Any] = [getattr(decoder_of(model), "config", None), text_config(model)]
    return list({id(config): config for config in found if config is not None}.values())


def known_layers(model: Any) -> Layers:
    """What is known of the decoder's layers."""
    decoder = decoder_of(model)
    return NO_LAYERS if decoder is None else layers_of(decoder, text_config(model))


def attention_layers(model: Any) -> list[int]:
    """Numbers of the decoder layers whose attention goes through transformers' attention interface, ascending."""
    return sorted(set(known_layers(model).numbers.values()))


def running_layers(model: Any) -> list[int]:
    """Those of `attention_layers` that a forward call reaches. A model that drafts for itself by early exit sets a
    smaller number of layers in its configuration during the draft."""
    decoder = decoder_of(model)
    stack, depth = stack_of(decoder), getattr(getattr(decoder, "config", None), "num_hidden_layers", None)
    numbers = attention_layers(model)
    if stack is None or depth is None or depth >= len(stack):
        return numbers
    return [number for number in numbers if number < depth]


def decoder_layers(model: Any) -> torch.nn.ModuleList:
    """The decoder's layers, in order.

    Raises:
        UnsupportedModelError: they are not found.
    """
    stack = stack_of(decoder_of(model))
    if stack is None:
        raise UnsupportedModelError(f"{type(model).__name__} has no list of decoder layers to read hidden states from")
    return stack


def final_norm(model: Any) -> torch.nn.Module:
    """The norm between the last decoder layer and the head.

    Raises:
        UnsupportedModelError: there is none under any of the names that families give it.
    """
    decoder = decoder_of(model)
    found = (getattr(decoder, name, None) for name in FINAL_NORMS)
    norm = next((norm for norm in found if isinstance(norm, torch.nn.Module)), None)
    if norm is None:
        raise UnsupportedModelError(f"{type(model).__name__} has no final norm to read hidden states through")
    return norm


def tied_head(model: Any) -> bool:
    """Whether the head's weights are those of the input embeddings."""
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    return head.weight is embeddings.weight


def vision_layers(tower: Any) -> list[torch.nn.Module]:
    """The encoder layers of a vision tower, in order."""
    return [module for module in tower.modules() if type(module).__name__.endswith("EncoderLayer")]


@contextmanager
def eager_vision(tower: Any) -> Iterator[None]:
    """Eager attention in the vision tower, which returns its maps, for the length of the block. Nested and parallel
    uses are counted."""
    config = tower.config
    with _towers_lock:
        _, own, count = _eager_towers.get(id(config), (config, config._attn_implementation, 0))
        _eager_towers[id(config)] = config, own, count + 1
        config._attn_implementation_internal = "eager"
    try:
        yield
    finally:
        with _towers_lock:
            _, own, count = _eager_towers.pop(id(config))
            if count > 1:
                _eager_towers[id(config)] = config, own, count - 1
            else:
                config._attn_implementation_internal = own


@contextmanager
def eager_language(model: Any) -> Iterator[None]:
    """Eager attention in the language model, which can return its maps, for the length of the block."""
    configs = language_configs(model)
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation_internal = "eager"
        yield
    finally:
        for config, own in zip(configs, before, strict=True):
            config._attn_implementation_internal = own


@contextmanager
def differentiable_embeddings(model: Any) -> Iterator[None]:
    """For the length of the block, token embeddings carry gradient, so that all later computation is in the graph
    although the weights are frozen."""
    handle = model.get_input_embeddings().register_forward_hook(
        lambda _module, _args, output: output.detach().requires_grad_() * 1
    )
    try:
        yield
    finally:
        handle.remove()


def is_hybrid(model: Any) -> bool:
    """True when something besides attention carries gradient from one token to the next: layers of another kind (linear
    attention, a state space, a convolution), or such a part beside or inside the attention of a layer."""
    return known_layers(model).mixing


def runs_apart(model: Any) -> bool:
    """Whether the recurrent parts of a hybrid can run the rows of a block side by side (`apart`)."""
    return bool(known_layers(model).recurrent)


def rows_apart(model: Any) -> AbstractContextManager[None]:
    """Inside the block, forward calls of this thread carry no gradient from one row to another in recurrent parts."""
    return apart.rows_apart(known_layers(model).recurrent)


def state_bytes(model: Any, cache: Any) -> int:
    """Bytes of the states that each row of a block keeps while rows run side by side."""
    return apart.state_bytes(known_layers(model).recurrent, cache)


def refuse_held_states(model: Any) -> None:
    """Refuse several texts at once on a model that keeps its states in its modules (RecurrentGemma).

    Raises:
        UnsupportedModelError: the model does so.
    """
    if known_layers(model).holders:
        raise UnsupportedModelError(
            f"{type(model).__name__} keeps its states in its modules, for one text at a time: methods that read a "
            "second text beside it (beams, contrasts) would mix the two"
        )


def forget_held_states(model: Any) -> None:
    """Reset the states of such a model: it would continue the last text where the first call feeds a single token."""
    for module in known_layers(model).holders:
        for name in HELD_STATES:
            if name in vars(module):
                setattr(module, name, None)


def last_to_write(model: Any) -> int | None:
    """The layer after whose attention a forward call writes nothing more into the cache, so that it can be stopped
    there. None where the last layer has no attention or keeps more than keys and values, or where offloaded weights
    (on the host or a disk) are put back only when a module returns."""
    stack = stack_of(decoder_of(model))
    top = attention_layers(model)[-1]
    places = set(map(str, (getattr(model, "hf_device_map", None) or {}).values()))
    offloaded = len(places) > 1 and places & {"cpu", "disk"}
    last = stack is not None and top == len(stack) - 1 and top in known_layers(model).columns
    return top if last and not offloaded else None
