"""The language model inside a model: its decoder, the layers that have attention, the norm and the head."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import transformers

from lvlm_saliency.errors import UnsupportedModelError
from lvlm_saliency.hf.backends import BACKENDS, NAMES

PREFIX_LM = {"paligemma": "its prompt attends to itself in both directions, so a prompt row is not a causal row"}

_layers_of: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # decoder -> (its depth, layers with attention)


def supported_decoder(model) -> torch.nn.Module:
    """The language model's decoder stack, checked to be one whose attention goes through our function.

    Raises:
        UnsupportedModelError: naming the reason.
    """
    kind = type(model).__name__
    if not isinstance(model, transformers.PreTrainedModel):
        raise UnsupportedModelError(
            f"{kind} is not a transformers model: pass the PreTrainedModel itself, not a wrapper"
        )
    if model.config.is_encoder_decoder:
        raise UnsupportedModelError(f"{kind} is an encoder-decoder; only decoder-only language models can be traced")
    decoder = model.get_decoder()
    if decoder is None or (decoder is model and not hasattr(model, "layers")):
        raise UnsupportedModelError(f"{kind} has no decoder stack (get_decoder() finds none)")
    text = text_config(model)
    if getattr(text, "cross_attention_layers", None):
        raise UnsupportedModelError(
            f"{kind} reads pictures through cross-attention layers: its pictures have no place in the attention rows"
        )
    if (reason := PREFIX_LM.get(model.config.model_type)) is not None:
        raise UnsupportedModelError(f"{kind} is a prefix language model: {reason}")
    backend = decoder.config._attn_implementation
    if backend not in NAMES and backend not in BACKENDS:
        raise UnsupportedModelError(
            f"attention backend {backend!r} is not supported: load the model with attn_implementation='sdpa'"
        )
    if not attention_layers(model):
        remote = not type(decoder).__module__.startswith("transformers.")
        reason = (
            "its code is not part of transformers and does not use the attention interface"
            if remote
            else "none of its layers calls the attention interface (linear attention or a state space model)"
        )
        raise UnsupportedModelError(f"the attention of {kind} cannot be captured: {reason}")
    return decoder


def text_config(model):
    """The language model's configuration (the model's own where there is no other)."""
    return model.config.get_text_config(decoder=True)


def attention_layers(model) -> list[int]:
    """Numbers of the decoder layers whose attention goes through transformers' attention interface, ascending."""
    decoder = model.get_decoder()
    depth = len(getattr(decoder, "layers", ()))
    known = _layers_of.get(decoder)
    if known is None or known[0] != depth:
        found = {
            module.layer_idx
            for module in decoder.modules()
            if isinstance(getattr(module, "layer_idx", None), int) and _calls_interface(type(module))
        }
        known = _layers_of[decoder] = (depth, sorted(found))
    return list(known[1])


@functools.cache
def _calls_interface(kind: type) -> bool:
    try:
        return "ALL_ATTENTION_FUNCTIONS" in inspect.getsource(kind.forward)
    except (OSError, TypeError):  # no source: not a modelling file of transformers
        return False


def decoder_layers(model) -> torch.nn.ModuleList:
    """The decoder's layers, in order.

    Raises:
        UnsupportedModelError: it keeps them elsewhere.
    """
    layers = getattr(model.get_decoder(), "layers", None)
    if layers is None:
        raise UnsupportedModelError(f"{type(model).__name__} has no list of decoder layers to read hidden states from")
    return layers


def final_norm(model) -> torch.nn.Module:
    """The norm between the last decoder layer and the head (nothing where there is none)."""
    return getattr(model.get_decoder(), "norm", None) or torch.nn.Identity()


def tied_head(model) -> bool:
    """Whether the head's weights are those of the input embeddings."""
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    return head.weight is embeddings.weight


def vision_layers(tower) -> list[torch.nn.Module]:
    """The encoder layers of a vision tower, in order."""
    return [module for module in tower.modules() if type(module).__name__.endswith("EncoderLayer")]


@contextmanager
def eager_vision(tower) -> Iterator[None]:
    """Attention of the vision tower that returns its maps, for the length of the block."""
    before = tower.config._attn_implementation
    tower.config._attn_implementation_internal = "eager"
    try:
        yield
    finally:
        tower.config._attn_implementation_internal = before


def is_hybrid(model) -> bool:
    """True when some decoder layers mix tokens by other means than attention (linear attention, convolution)."""
    layers = getattr(model.get_decoder(), "layers", ())
    return len(layers) > len(attention_layers(model))


def last_to_write(model) -> int | None:
    """The layer behind whose attention a forward call writes nothing more into the cache, so that it may be broken off
    there; None where the last layer is of another kind, or where weights that were brought from the memory of the host
    or a disk are put back when a module returns."""
    top = attention_layers(model)[-1]
    places = set(map(str, (getattr(model, "hf_device_map", None) or {}).values()))
    offloaded = len(places) > 1 and places & {"cpu", "disk"}
    return None if offloaded or top != len(decoder_layers(model)) - 1 else top
