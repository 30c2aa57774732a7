"""Everything that touches transformers' private names, in one place.

When a new transformers release renames something, this file is the one to mend. Checked with 5.23.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lvlm_saliency import caches
from lvlm_saliency.attention.backend import attention
from lvlm_saliency.errors import UnsupportedModelError

# A name that contains "sdpa" or "flash" would send transformers down that backend's dispatch checks.
NAMES = {
    "eager": "lvlm_saliency_plain",
    "sdpa": "lvlm_saliency_fused",
    "flash_attention_2": "lvlm_saliency_tiled2",
    "flash_attention_3": "lvlm_saliency_tiled3",
}
BACKENDS = {name: backend for backend, name in NAMES.items()}

PREFIX_LM = {"paligemma": "its prompt attends to itself in both directions, so a prompt row is not a causal row"}

_layers_of: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # decoder -> (its depth, layers with attention)
_switches: dict[int, tuple[Any, str, int]] = {}  # config id -> (config, its own backend, how many sessions are open)
_switch_lock = threading.Lock()


def _eager(module, *args, **kwargs):
    """The eager attention of the model's own modelling file: soft-capping and sinks differ from family to family."""
    return sys.modules[type(module).__module__].eager_attention_forward(module, *args, **kwargs)


def _register() -> None:
    for backend, name in NAMES.items():
        if backend != "eager" and backend not in ALL_ATTENTION_FUNCTIONS:
            continue
        delegate = _eager if backend == "eager" else ALL_ATTENTION_FUNCTIONS[backend]
        AttentionInterface.register(name, functools.partial(attention, delegate=delegate))
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[backend])


_register()


# --- the model -------------------------------------------------------------------------------------------------------


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


# --- the switch ------------------------------------------------------------------------------------------------------


def _configs(model) -> list:
    """The configuration objects that choose the language model's attention and masks, and only those."""
    configs = {id(c): c for c in (model.get_decoder().config, text_config(model))}
    return list(configs.values())


@contextmanager
def switched(model) -> Iterator[None]:
    """Route the language model's attention through our function; counted, so that sessions may nest and overlap."""
    configs = _configs(model)
    with _switch_lock:
        for config in configs:
            _, own, count = _switches.get(id(config), (config, config._attn_implementation, 0))
            _switches[id(config)] = (config, own, count + 1)
            config._attn_implementation_internal = NAMES[own]
    try:
        yield
    finally:
        with _switch_lock:
            for config in configs:
                _, own, count = _switches.pop(id(config))
                if count > 1:
                    _switches[id(config)] = (config, own, count - 1)
                else:
                    config._attn_implementation_internal = own


# --- one forward call ------------------------------------------------------------------------------------------------


def lengths(args: tuple, kwargs: dict) -> tuple[int, int, Any]:
    """Of a decoder call: tokens in the cache before it, tokens that come in, and the cache (or None)."""
    tokens = kwargs.get("inputs_embeds")
    if tokens is None:
        tokens = kwargs.get("input_ids", args[0] if args else None)
    cache = kwargs.get("past_key_values")
    past = 0 if cache is None else int(cache.get_seq_length())
    return past, tokens.shape[1], cache


# --- generation ------------------------------------------------------------------------------------------------------

PER_TOKEN = ("attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids")
"""Model inputs that run along the sequence (last axis)."""


def prepared(model, inputs: dict, loop: Callable, **settings):
    """Let `model.generate` prepare everything (features, positions, cache, processors), then call our `loop`."""
    return model.generate(**inputs, custom_generate=loop, **settings)


def prepared_alone(model, inputs: dict, length: int, answers: int, use_cache: bool) -> tuple[Tensor, Any, dict]:
    """What `generate` hands to its loop for these inputs: token ids, configuration and keyword state, with a cache of
    their own; `answers` rows for each sample. Positions are explicit, and the model's own state stays as it was."""

    def loop(model, input_ids, logits_processor, stopping_criteria, generation_config, **model_kwargs):
        return input_ids, generation_config, model_kwargs

    settings: dict[str, Any] = {"max_new_tokens": max(1, length), "num_beams": 1, "num_return_sequences": answers}
    if use_cache:
        settings["past_key_values"] = caches.new_cache(model)
    with offsets_kept(model):
        # several answers to one prompt need sampling, as far as the check of the settings goes
        return prepared(model, dict(inputs), loop, use_cache=use_cache, do_sample=answers > 1, **settings)


@contextmanager
def offsets_kept(model) -> Iterator[None]:
    """Restore the position offsets that m-RoPE families remember from their last prompt."""
    inner = getattr(model, "model", None)
    before = getattr(inner, "rope_deltas", None)
    try:
        yield
    finally:
        if hasattr(inner, "rope_deltas"):
            inner.rope_deltas = before


def prefill_inputs(model, input_ids: Tensor, model_kwargs: dict, drop: int = 0) -> dict:
    """Forward inputs for the prompt without its last `drop` tokens."""
    inputs = model.prepare_inputs_for_generation(input_ids, is_first_iteration=True, **model_kwargs)
    return cut(inputs, ("input_ids", *PER_TOKEN), slice(0, input_ids.shape[1] - drop)) if drop else inputs


def cut(inputs: dict, names: tuple[str, ...], span: slice) -> dict:
    """The inputs with the named per-token tensors restricted to `span` of their last axis."""
    changed = {k: inputs[k][..., span] for k in names if isinstance(inputs.get(k), Tensor)}
    return {**inputs, **changed}


def moved(inputs: dict, index: Tensor) -> dict:
    """The inputs with every per-token tensor read at `index`, int64 `[B, N]`; where it is negative there is nothing."""
    batch, length = index.shape
    inputs = dict(inputs)
    if not isinstance(inputs.get("attention_mask"), Tensor):  # generate leaves a mask out that hides nothing
        inputs["attention_mask"] = index.new_ones((batch, int(index.max()) + 1))
    for name in PER_TOKEN:
        x = inputs.get(name)
        if isinstance(x, Tensor):
            x = x.expand(*x.shape[:-2], batch, x.shape[-1])
            at = index.clamp(0, x.shape[-1] - 1).to(x.device).expand(*x.shape[:-2], batch, length)
            inputs[name] = x.gather(-1, at)
    inputs["attention_mask"] = inputs["attention_mask"].masked_fill(index.to(inputs["attention_mask"].device) < 0, 0)
    return inputs


def extended(model, outputs, model_kwargs: dict, new: int) -> dict:
    """The model's keyword state once `new` text tokens have been appended to the sequence."""
    types = model_kwargs.get("token_type_ids")
    rest = {k: v for k, v in model_kwargs.items() if k != "token_type_ids"}
    rest = model._update_model_kwargs_for_generation(outputs, rest, num_new_tokens=new)
    if types is not None:  # transformers repeats the last `new` types, which reach back into the image
        rest["token_type_ids"] = torch.cat([types, types.new_zeros((types.shape[0], new))], dim=-1)
    return rest


def advanced(model, outputs, model_kwargs: dict) -> dict:
    """The model's keyword state after one ordinary step, as `generate` keeps it."""
    return model._update_model_kwargs_for_generation(outputs, model_kwargs)


def next_inputs(model, input_ids: Tensor, new: int | None, model_kwargs: dict) -> dict:
    """Forward inputs for the last `new` tokens of `input_ids` over the cache (all of them without one: None)."""
    return model.prepare_inputs_for_generation(input_ids, next_sequence_length=new, **model_kwargs)


def prefill(model, input_ids: Tensor, generation_config, model_kwargs: dict):
    """The ordinary prompt pass of `generate` (chunked where the configuration asks for it)."""
    return model._prefill(input_ids, generation_config, model_kwargs)


def decode_call(model, generation_config, model_kwargs: dict) -> Callable:
    """The call that makes a decode step where nothing acts on it: compiled exactly where `generate` would compile it
    (a static cache on a card, or a compile_config that asks for it), else the model itself."""
    if model._valid_auto_compile_criteria(model_kwargs, generation_config):
        return model.get_compiled_call(generation_config.compile_config)
    return model


def prefill_calls(input_ids: Tensor, generation_config) -> int:
    """How many forward calls the prompt takes."""
    chunk = getattr(generation_config, "prefill_chunk_size", None)
    return 1 if not chunk else -(-input_ids.shape[1] // chunk)


def without_prompt_inputs(model_kwargs: dict) -> dict:
    """The keyword state without cache and pictures: what decode steps over a forked cache need."""
    return {
        k: v
        for k, v in model_kwargs.items()
        if k in PER_TOKEN or not (isinstance(v, Tensor) or k in ("past_key_values", "mm_encoder_outputs"))
    }


def row_inputs(model_kwargs: dict, rows: Tensor, batch: int) -> dict:
    """The keyword state for these rows of a batch; position ids may be `[1, N]` (shared) or `[k, batch, N]`."""
    selected = {
        k: v.index_select(-2, rows.to(v.device))
        for k, v in model_kwargs.items()
        if k in PER_TOKEN and isinstance(v, Tensor) and v.shape[-2] == batch
    }
    return {**model_kwargs, **selected}


def processed_rows(processors, origin: Tensor, ids: Tensor, scores: Tensor) -> Tensor:
    """The scores `[R, V]` after the processors that were made for a batch; row r belongs to its sample `origin[r]`."""
    for processor in processors:
        own = processor
        padding = getattr(processor, "prompt_ignore_length", None)
        if isinstance(padding, Tensor):
            own = copy.copy(processor)
            own.prompt_ignore_length = padding[origin]
        scores = own(ids, scores)
    return scores


def end_tokens(generation_config) -> tuple[int, ...]:
    """The ids that end a text, as this call of `generate` has them."""
    ends = generation_config._eos_token_tensor
    return () if ends is None else tuple(ends.flatten().tolist())


def pad_token(generation_config) -> Tensor | None:
    return generation_config._pad_token_tensor
