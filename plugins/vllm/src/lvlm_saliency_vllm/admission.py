"""Which engines and which requests cannot be served, each with its reason. What is refused is never served silently."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from lvlm_saliency_vllm.settings import Asked, SettingError, check_layers

OTHER_BACKEND = (
    "no attention layer of this engine goes through the plug-in: on a GPU start with --attention-backend CUSTOM "
    "(vLLM's own choice of backend is not ours)"
)
DROPPED = (
    "this engine runs no logits processors of plug-ins (speculative decoding under model runner V1 drops them), and "
    "nothing else sees a request's settings"
)
NOT_LOADED = "VLLM_PLUGINS names other plug-ins only: add lvlm_saliency, or the settings would be without effect"

_PLACEHOLDERS = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")

state: dict[str, Any] = {"registered": False, "salted": False, "problem": "", "layers": None}
"""Of this process: whether `register` ran and the prefix cache is salted; and, where the API server has asked its
engine, what the engine cannot do and which layers it has (so that a request is refused before it reaches a worker)."""


def placeholders(hf_config: Any) -> tuple[int, ...]:
    """The ids that stand for picture or video features in a prompt, from the model's configuration."""
    configs = hf_config, getattr(hf_config, "vision_config", None)
    found = {getattr(config, name, None) for config in configs for name in _PLACEHOLDERS}
    return tuple(sorted(one for one in found if isinstance(one, int)))


def problem(vllm_config: Any) -> str:
    """Why this engine can serve neither LocoRE nor readings; empty where it can."""
    return next(chain(_of_engine(vllm_config), _of_cache(vllm_config), _of_model(vllm_config.model_config)), "")


def _of_engine(config: Any) -> Iterator[str]:
    parallel = config.parallel_config
    if not state["registered"]:
        yield NOT_LOADED
    if config.speculative_config is not None:
        yield "speculative decoding is on: drafted rows are not the rows of chosen tokens; start without it"
    if parallel.pipeline_parallel_size > 1:
        yield "pipeline parallelism is on: only the last stage hears of requests; use tensor parallelism"
    for name in ("decode_context_parallel_size", "prefill_context_parallel_size"):
        if getattr(parallel, name, 1) > 1:
            yield f"{name} is above 1: no worker has a whole row's keys"
    if getattr(parallel, "enable_dbo", False):
        yield "dual-batch overlap is on: a pass is cut into parts whose rows this plug-in does not follow"


def _of_cache(config: Any) -> Iterator[str]:
    cache = config.cache_config
    if str(cache.cache_dtype).startswith(("fp8", "int8", "nvfp4", "turboquant")):
        yield f"the key/value cache is quantised ({cache.cache_dtype}): keys are read as they are stored"
    if getattr(cache, "kv_sharing_fast_prefill", False):
        yield "kv_sharing_fast_prefill is on: some layers see only a part of the rows"
    if getattr(config, "kv_transfer_config", None) is not None:
        yield "a key/value connector is set: keys of another engine were written under settings unknown here"
    if cache.enable_prefix_caching and not state["salted"]:
        yield (
            "prefix caching is on, and this vLLM hashes blocks in a way that the plug-in does not know: blocks written "
            "under LocoRE would serve other requests; start with --no-enable-prefix-caching"
        )


def _of_model(model: Any) -> Iterator[str]:
    if getattr(model, "enable_prompt_embeds", False):
        yield "prompt embeddings are allowed: nothing tells which of them are the picture's"
    if getattr(model, "use_mla", False):
        yield "the model has multi-head latent attention, whose backends have no keys of heads to read"
    if getattr(model, "is_encoder_decoder", False):
        yield "the model is an encoder-decoder: its picture is not among the decoder's keys"


_MASKS = ("allowed_token_ids", "bad_words", "logit_bias", "min_tokens", "structured_outputs", "thinking_token_budget")


def check(wanted: Asked, params: Any) -> None:
    """Refuse one request at the door.

    Raises:
        SettingError: the engine cannot serve it, or its sampling parameters do not go with what it asks for.
    """
    if not state["registered"]:
        raise SettingError(NOT_LOADED)
    if state["problem"]:
        raise SettingError(state["problem"])
    if state["layers"] is not None:
        check_layers(wanted, state["layers"])
    if wanted.grounding is None:
        return
    if (params.n or 1) > 1:
        raise SettingError("grounding goes with n=1: the readings of several texts would be kept under one name")
    for name in _MASKS:
        if getattr(params, name, None):
            raise SettingError(
                f"grounding does not go with {name}: logits reach a plug-in only after it, and their entropy would not "
                "be that of the model's own distribution"
            )


def no_penalties(params: Any) -> bool:
    """Whether the logits are without penalties, which runner V2 takes off before a processor sees them."""
    return params.presence_penalty == 0 and params.frequency_penalty == 0 and params.repetition_penalty == 1
