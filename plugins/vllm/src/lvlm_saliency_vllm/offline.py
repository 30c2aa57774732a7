"""Texts with their grounding out of an offline `vllm.LLM`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlm_saliency_vllm.grounding import TokenGrounding
from lvlm_saliency_vllm.risk import CausalRisk
from lvlm_saliency_vllm.settings import SettingError
from lvlm_saliency_vllm.worker import READ, STATE

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams


@dataclass(frozen=True)
class GroundedText:
    """One request: what vLLM returned, and its tokens' grounding. risk: float64 `[T]`, names_object: bool `[T]`, both
    None without a risk model."""

    output: RequestOutput
    grounding: TokenGrounding
    risk: np.ndarray | None = None
    names_object: np.ndarray | None = None


def generate(
    llm: LLM,
    prompts: Any,
    sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
    *,
    layers: Sequence[int] | None = None,
    risk: CausalRisk | str | Path | None = None,
    **settings: Any,
) -> list[GroundedText]:
    """`llm.generate`, with the grounding of every token.

    Args:
        llm: a `vllm.LLM`, started with this plug-in installed.
        prompts: one prompt or a list, as `llm.generate` takes them.
        sampling_params: for all prompts, or one each; LocoRE's settings are in their `extra_args`. They are copied.
        layers: decoder layers to read, default all; those that the risk model reads must be among them.
        risk: a causal risk model, or the path of its file.
        settings: passed on to `llm.generate`.

    Returns:
        One text a prompt, in their order.

    Raises:
        SettingError: the engine cannot serve readings, with the reason.
        RiskFileError: the risk file cannot be used.
        GroundingError: the readings do not fit the text.
    """
    prompts = list(prompts) if isinstance(prompts, (list, tuple)) else [prompts]
    risk = risk if risk is None or isinstance(risk, CausalRisk) else CausalRisk.load(risk)
    _check_engine(llm, layers, risk)
    params, keys = _asking(llm, sampling_params, len(prompts), layers)
    outputs = llm.generate(prompts, params, **settings)
    read = llm.collective_rpc(READ, args=(keys, [0] * len(keys), True))[0]
    return [_text(output, one, risk) for output, one in zip(outputs, read, strict=True)]


def _check_engine(llm: LLM, layers: Sequence[int] | None, risk: CausalRisk | None) -> None:
    from lvlm_saliency_vllm import admission

    if not admission.state["registered"]:
        raise SettingError(admission.NOT_LOADED)
    for state in llm.collective_rpc(STATE):
        if state["problem"]:
            raise SettingError(state["problem"])
        known = set(state["layers"])
        missing = sorted(set(layers or ()) - known) or sorted(set(risk.layers if risk else ()) - known)
        if missing:
            raise SettingError(f"layers {missing} are to be read, and the model has {sorted(known)}")
    if risk is not None and layers is not None and (unread := sorted(set(risk.layers) - set(layers))):
        raise SettingError(f"the risk model reads layers {list(risk.layers)}: add {unread} to layers=, or leave it out")
    mode = llm.llm_engine.vllm_config.model_config.logprobs_mode
    if mode != "raw_logprobs":
        raise SettingError(f"the engine was started with logprobs_mode={mode!r}, and grounding needs raw_logprobs")


def _asking(
    llm: LLM, given: SamplingParams | Sequence[SamplingParams] | None, count: int, layers: Sequence[int] | None
) -> tuple[list[SamplingParams], list[str]]:
    """The requests' own copies of the parameters, each with a name for its readings."""
    given = llm.get_default_sampling_params() if given is None else given
    params = list(given) if isinstance(given, (list, tuple)) else [given] * count
    if len(params) != count:
        raise SettingError(f"{count} prompts, and {len(params)} sets of sampling parameters")
    keys, asking = [uuid.uuid4().hex for _ in params], []
    for one, key in zip(params, keys, strict=True):
        own = one.clone()
        own.logprobs = 0 if own.logprobs is None else own.logprobs
        extra: Mapping[str, Any] = own.extra_args or {}
        own.extra_args = {**extra, "grounding": key, **({"grounding_layers": list(layers)} if layers else {})}
        asking.append(own)
    return asking, keys


def _text(output: RequestOutput, read: Mapping[str, Any], risk: CausalRisk | None) -> GroundedText:
    answer = output.outputs[0]
    ids = list(answer.token_ids)
    logprobs = [known[token].logprob for token, known in zip(ids, answer.logprobs, strict=True)]
    grounding = TokenGrounding.of(ids, logprobs, read)
    if risk is None:
        return GroundedText(output, grounding)
    return GroundedText(output, grounding, risk(grounding), risk.names_object(grounding))
