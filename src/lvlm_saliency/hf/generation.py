"""What `generate` prepares, and the keyword arguments (`model_kwargs`) that are updated from step to step."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import LogitsProcessorList
from transformers.generation.stopping_criteria import EosTokenCriteria, MaxLengthCriteria

from lvlm_saliency.errors import UnsupportedModelError
from lvlm_saliency.hf import caches
from lvlm_saliency.hf.call import CACHE, CACHE_NAMES, with_cache_named
from lvlm_saliency.hf.positions import offsets_kept
from lvlm_saliency.hf.settings import prepared_plainly

PER_TOKEN = ("attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids")
"""Model inputs that run along the sequence (last axis)."""
TYPES = ("token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids")
"""Those of them that give the type of each token; 0 is text."""


def setting(model: Any, given: Mapping[str, Any], name: str) -> Any:
    """A setting of a `generate` call with these keywords: from them (None switches it off), else from its
    configuration, else from the model's."""
    if name in given:
        return given[name]
    config = given.get("generation_config")
    value = None if config is None else getattr(config, name, None)
    return getattr(model.generation_config, name, None) if value is None else value


def inferred_mask(model: Any, ids: Tensor, given: Mapping[str, Any]) -> Tensor | None:
    """The attention mask `[batch, n0]` that `generate` makes where none is given: it hides padding, if the padding id
    is not an end-of-text id. None where it hides nothing."""
    pad, ends = setting(model, given, "pad_token_id"), setting(model, given, "eos_token_id")
    pad, ends = _plain(pad), _plain(ends)
    if pad is None or pad in (ends if isinstance(ends, list) else [ends]):
        return None
    return ids.ne(pad).long()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value


def without_compiling(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a `generate` call, such that its forward calls are not compiled."""
    config = given.get("generation_config")
    if config is None:
        return {**given, "disable_compile": True}
    config = copy.copy(config)
    config.disable_compile = True
    return {**given, "generation_config": config}


def prepared(model: Any, inputs: dict[str, Any], loop: Callable[..., Any], **settings: Any) -> Any:
    """Let `model.generate` prepare everything (features, positions, cache, processors), then call our `loop`."""
    return model.generate(**with_cache_named({**inputs, **settings}), custom_generate=loop)


def prepared_alone(
    model: Any, inputs: dict[str, Any], length: int, answers: int, use_cache: bool
) -> tuple[Tensor, Any, dict[str, Any]]:
    """What `generate` passes to its loop for these inputs: token ids, configuration and `model_kwargs` with a new
    cache; `answers` rows for each sample. Positions are explicit, and the model's own state is not changed."""

    def loop(
        model: Any,
        input_ids: Any,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> Any:
        return input_ids, generation_config, model_kwargs

    settings: dict[str, Any] = {"max_new_tokens": max(1, length), "num_beams": 1, "num_return_sequences": answers}
    if use_cache:
        settings[CACHE] = caches.new_cache(model)
    with offsets_kept(model):
        # transformers' check of the settings allows several answers to one prompt only with sampling
        return prepared_plainly(model, dict(inputs), loop, use_cache=use_cache, do_sample=answers > 1, **settings)


def picture_lengths(model: Any, inputs: Mapping[str, Any]) -> list[int]:
    """How many feature vectors the model's own encoder makes of each picture (or row of pictures) of the inputs.

    Raises:
        UnsupportedModelError: it has no encoder that can be called by itself, or one that does not say.
    """
    encode = getattr(model.base_model, "get_image_features", None)
    if encode is None:
        raise UnsupportedModelError(f"{type(model).__name__} has no get_image_features: pass the samples one by one")
    taken = inspect.signature(encode).parameters
    with torch.no_grad():
        made = encode(**{name: value for name, value in inputs.items() if name in taken}, return_dict=True)
    features = getattr(made, "pooler_output", None)
    if features is None:
        raise UnsupportedModelError(
            f"the encoder of {type(model).__name__} does not say which features are whose: pass the samples one by one"
        )
    return [feature.shape[:-1].numel() for feature in features]


def prefill_inputs(model: Any, input_ids: Tensor, model_kwargs: dict[str, Any], drop: int = 0) -> dict[str, Any]:
    """Forward inputs for the prompt without its last `drop` tokens."""
    inputs = _as_told(
        model.prepare_inputs_for_generation(input_ids, is_first_iteration=True, **model_kwargs), model_kwargs
    )
    return cut(inputs, ("input_ids", *PER_TOKEN), slice(0, input_ids.shape[1] - drop)) if drop else inputs


def whole_inputs(model: Any, inputs: Mapping[str, Any], ids: Tensor) -> dict[str, Any]:
    """Forward inputs of one pass over the unpadded ids `[1, N]`, which begin with the prompt of `inputs`, for the
    logits after the last of them."""
    extra = ids.shape[1] - inputs["input_ids"].shape[1]
    per_token = {name: inputs[name] for name in PER_TOKEN if isinstance(inputs.get(name), Tensor)}
    longer = {name: torch.nn.functional.pad(x, (0, extra)) for name, x in per_token.items() if name != "position_ids"}
    found = {**{k: v for k, v in inputs.items() if k not in per_token}, **longer}
    found |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        found["logits_to_keep"] = 1
    return found


def cut(inputs: Mapping[str, Any], names: tuple[str, ...], span: slice) -> dict[str, Any]:
    """The inputs with the named per-token tensors restricted to `span` of their last axis."""
    changed = {k: inputs[k][..., span] for k in names if isinstance(inputs.get(k), Tensor)}
    return {**inputs, **changed}


def moved(inputs: dict[str, Any], index: Tensor) -> dict[str, Any]:
    """The inputs with every per-token tensor gathered at `index`, int64 `[B, N]`; negative indices are padding."""
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


def extended(model: Any, outputs: Any, model_kwargs: dict[str, Any], new: int) -> dict[str, Any]:
    """`model_kwargs` after `new` text tokens have been appended to the sequence."""
    types = {k: v for k, v in model_kwargs.items() if k in TYPES}
    rest = {k: v for k, v in model_kwargs.items() if k not in TYPES}
    rest = model._update_model_kwargs_for_generation(outputs, rest, num_new_tokens=new)
    return rest | _with_text_types(types, new)


def advanced(model: Any, outputs: Any, model_kwargs: dict[str, Any]) -> dict[str, Any]:
    """`model_kwargs` after one ordinary step, as `generate` updates them."""
    types = {k: v for k, v in model_kwargs.items() if k in TYPES}
    kwargs = model._update_model_kwargs_for_generation(outputs, model_kwargs)
    left = {k: v for k, v in types.items() if kwargs.get(k) is v}  # those that transformers does not extend
    return kwargs | _with_text_types(left, 1)


def _with_text_types(types: dict[str, Any], new: int) -> dict[str, Any]:
    """The types of tokens with those of `new` text tokens after them. transformers repeats the last `new` types, which
    reach back into the image, or leaves some as they are."""
    found = {k: v for k, v in types.items() if isinstance(v, Tensor)}
    return {k: torch.cat([v, v.new_zeros((*v.shape[:-1], new))], dim=-1) for k, v in found.items()}


def next_inputs(model: Any, input_ids: Tensor, new: int | None, model_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Forward inputs for the last `new` tokens of `input_ids` over the cache (all of them without one: None)."""
    inputs = model.prepare_inputs_for_generation(input_ids, next_sequence_length=new, **model_kwargs)
    return _as_told(inputs, model_kwargs)


def _as_told(inputs: dict[str, Any], model_kwargs: dict[str, Any]) -> dict[str, Any]:
    """The inputs with `logits_to_keep` of `model_kwargs`: some models always set it to one."""
    told = {k: model_kwargs[k] for k in ("logits_to_keep",) if k in model_kwargs and k in inputs}
    return {**inputs, **told}


def prefill(model: Any, input_ids: Tensor, generation_config: Any, model_kwargs: dict[str, Any]) -> Any:
    """The ordinary prompt pass of `generate` (chunked where the configuration asks for it)."""
    return model._prefill(input_ids, generation_config, model_kwargs)


def decode_call(model: Any, generation_config: Any, model_kwargs: dict[str, Any]) -> Callable[..., Any]:
    """The call of a decode step that no method acts on: compiled where `generate` would compile it (a static cache on a
    GPU, or a compile_config that asks for it), else the model itself."""
    if model._valid_auto_compile_criteria(model_kwargs, generation_config):
        return model.get_compiled_call(generation_config.compile_config)
    return model


def prefill_calls(input_ids: Tensor, generation_config: Any) -> int:
    """How many forward calls the prompt takes."""
    chunk = getattr(generation_config, "prefill_chunk_size", None)
    return 1 if not chunk else -(-input_ids.shape[1] // chunk)


def without_prompt_inputs(model_kwargs: dict[str, Any]) -> dict[str, Any]:
    """`model_kwargs` without cache and pictures, as decode steps over a copied cache need them."""
    return {
        k: v
        for k, v in model_kwargs.items()
        if k in PER_TOKEN or not (isinstance(v, Tensor) or k in (*CACHE_NAMES, "mm_encoder_outputs"))
    }


def row_inputs(model_kwargs: dict[str, Any], rows: Tensor, batch: int) -> dict[str, Any]:
    """`model_kwargs` for these rows of a batch; position ids may be `[1, N]` (shared) or `[k, batch, N]`."""
    selected = {
        k: v.index_select(-2, rows.to(v.device))
        for k, v in model_kwargs.items()
        if k in PER_TOKEN and isinstance(v, Tensor) and v.shape[-2] == batch
    }
    return {**model_kwargs, **selected}


def processed_rows(processors: Any, origin: Tensor, ids: Tensor, scores: Tensor) -> Tensor:
    """The scores `[R, V]` after processors that were made for a batch; row r belongs to sample `origin[r]`."""
    for processor in processors:
        own = processor
        padding = getattr(processor, "prompt_ignore_length", None)
        if isinstance(padding, Tensor):
            own = copy.copy(processor)
            own.prompt_ignore_length = padding[origin]
        scores = own(ids, scores)
    return scores


class Processing(Protocol):
    """A list of logits processors. (transformers annotates its own with `LongTensor`, which no `Tensor` fits.)"""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores `[R, V]` after all of them, for token ids int64 `[R, n]`."""

    def __len__(self) -> int:
        """How many there are."""


def warpers_apart(processors: Any) -> tuple[Processing, Processing]:
    """The processors (penalties, bans, the caller's own), and the warpers (temperature, top-k, ...) with what
    `generate` puts after them."""
    last = ("LogitNormalization", "WatermarkLogitsProcessor", "SynthIDTextWatermarkLogitsProcessor")
    kinds = [type(processor).__name__ for processor in processors]
    first = next((n for n, kind in enumerate(kinds) if kind.endswith("Warper") or kind in last), len(kinds))
    lists: tuple[Any, Any] = LogitsProcessorList(processors[:first]), LogitsProcessorList(processors[first:])
    return lists


def only_warpers(processors: Any) -> bool:
    """Whether the processors are transformers' own warpers, which treat each row by itself, whatever its number."""
    names = [(type(one).__module__, type(one).__name__) for one in processors]
    return all(module.startswith("transformers.") and name.endswith("Warper") for module, name in names)


def end_tokens(generation_config: Any) -> tuple[int, ...]:
    """The ids that end a text, as this call of `generate` has them."""
    ends = generation_config._eos_token_tensor
    return () if ends is None else tuple(ends.flatten().tolist())


def plain_limits(criteria: Any) -> tuple[int, frozenset[int]] | None:
    """The greatest length of a text, prompt included, and the tokens that end one, where nothing else ends it; None
    where something else may, so that the criteria have to be called."""
    longest, ends = sys.maxsize, set()
    for one in criteria:
        if type(one) is MaxLengthCriteria:
            longest = min(longest, one.max_length)
        elif type(one) is EosTokenCriteria:
            ends |= set(one.eos_token_id.flatten().tolist())
        else:
            return None
    return longest, frozenset(ends)


def pad_token(generation_config: Any) -> Tensor | None:
    return generation_config._pad_token_tensor
