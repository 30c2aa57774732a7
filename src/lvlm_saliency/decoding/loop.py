"""`generate`: decoding with methods, on unmodified models, under every ordinary `generate` setting."""

from __future__ import annotations

import copy
import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.given import editing, given_methods
from lvlm_saliency.attention.parts import Bindable, Generation, Role, RunInfo, bound
from lvlm_saliency.attention.prompts import Prompt, brought_cache, check_pictures_in_cache, fit_cache, prompt_of
from lvlm_saliency.attention.session import session
from lvlm_saliency.decoding.contrast import with_pictures
from lvlm_saliency.decoding.run import Run
from lvlm_saliency.errors import SettingError
from lvlm_saliency.model.input_checks import check_inputs
from lvlm_saliency.model.output import Cost, GenerateOutput, TokenRecord
from lvlm_saliency.model.regions import check_named, output_lengths, token_ids

BEAMS = Role.TOKENS | Role.LOOP
"""The roles of beam search: it chooses the tokens, in a loop of its own."""


def generate(
    model: Any,
    inputs: Mapping[str, Any],
    methods: Sequence[Bindable] | Bindable = (),
    *,
    streamer: Any = None,
    sample_ids: Sequence[int] | None = None,
    processor: Any = None,
    **settings: Any,
) -> GenerateOutput:
    """Generate with methods.

    Args:
        model: a decoder-only transformers model.
        inputs: what its processor returned; prompts of different length are left-padded.
        methods: `LocoRE(...)`, `SGRS(...)`, ...: any number that edit attention or observe tokens, and at most one each
            that makes the logits, chooses the tokens, or runs the loop.
        streamer: as in `model.generate`.
        sample_ids: one number per sample, default 0, 1, ...; the random draws of seeded methods depend on it and not on
            the other samples of the batch.
        processor: the model's processor, for methods that read or write text.
        settings: every keyword of `model.generate` (max_new_tokens, do_sample, temperature, top_p, repetition_penalty,
            stop_strings with tokenizer, output_scores, ...).

    Returns:
        GenerateOutput: sequences int64 `[batch, n0 + T]`, steps (one record per token), cost.

    Raises:
        InputError: inputs that the model would fail on or misread; the message says what to do.
        SettingError: methods that cannot be combined, or a setting that cannot be used with a method.
        UnsupportedModelError: the model's attention cannot be captured.
        NumericalError: the logits are not finite.
    """
    check_named(inputs)
    methods = composed(methods)
    for method in methods:
        method.check_model(model)
    inputs, settings, held = _going_on(model, inputs, methods, settings)
    for method in methods:
        if method.needs_picture and not held:
            with_pictures(method.name, inputs)
    check_inputs(model, inputs, held=held)
    given, settings = settings, dict(settings)
    if any(settings.get(name) for name in ("output_scores", "output_logits", "output_hidden_states")):
        settings.setdefault("return_dict_in_generate", True)  # transformers warns otherwise
    looping = next((method for method in methods if Role.LOOP in method.roles), None)
    searches = looping is not None and BEAMS in looping.roles
    own = {"num_beams": 1, "num_return_sequences": 1, "do_sample": False} if searches else {}
    config = hf.call_settings(model, {**settings, **own})
    if config.output_hidden_states:
        hf.capture_once(model)
    plainly = hf.token_by_token(config, settings.get("assistant_model"))
    _servable(methods, config, settings)
    settings = _with_stop_strings(model, config, settings)
    for method in methods:
        settings = method.call_settings(model, settings)
    if not plainly and not searches:
        return _by_transformers(model, inputs, methods, streamer, config, settings)
    run = RunInfo(dict(inputs), settings=given, processor=processor)
    loop = functools.partial(decode_with, methods, streamer=streamer, sample_ids=sample_ids, run=run)
    found: GenerateOutput = hf.prepared(model, dict(inputs), loop, streamer=streamer, **settings)
    return found


def composed(methods: Any) -> list[Bindable]:
    """The methods as a list, checked to be combinable.

    Raises:
        SettingError: a name or a class instead of a method, the same method twice, or two that choose the tokens, make
            the logits or run the loop; the message says why.
    """
    found = given_methods(methods)
    deciding = _names(found, Role.TOKENS)
    if len(deciding) > 1:
        raise SettingError(f"{' and '.join(deciding)} each decide the next token; choose one of them")
    shaping = _names(found, Role.LOGITS)
    if len(shaping) > 1:
        raise SettingError(f"{' and '.join(shaping)} each change the logits; choose one of them")
    looping = _names(found, Role.LOOP)
    if len(looping) > 1:
        raise SettingError(f"{' and '.join(looping)} each run the loop of a generation; choose one of them")
    searching, listening = _names(found, BEAMS), _names(found, Role.HEARS)
    if shaping and searching:
        raise SettingError(
            f"{shaping[0]} makes its logits for one text per sample and cannot feed {searching[0]}'s beams"
        )
    if listening and searching:
        raise SettingError(
            f"{listening[0]} hears each token as it is chosen, and until the end another of {searching[0]}'s beams may "
            "win; choose one of them"
        )
    return found


def _names(methods: Sequence[Bindable], role: Role) -> list[str]:
    """The names of the methods that have the whole role."""
    return [method.name for method in methods if role in method.roles]


def _going_on(
    model: Any, inputs: Mapping[str, Any], methods: Sequence[Bindable], settings: dict[str, Any]
) -> tuple[Mapping[str, Any], dict[str, Any], int]:
    """The inputs and settings to go on with where the caller passes a cache, and how many tokens it holds (0 without).

    Raises:
        SettingError, PromptError: the generation cannot continue from this cache; the message says why.
    """
    cache = hf.cache_of({**inputs, **settings})
    if cache is None:
        return inputs, settings, 0
    inputs, own = hf.without_cache(inputs)
    settings = {**own, **settings}
    if brought_cache(settings) is None:
        return inputs, settings, 0
    for method in methods:
        if method.reads_inputs:
            raise SettingError(
                f"{method.name} reads a second prompt, and the cache holds a part of the first: leave the cache out"
            )
    given = {**inputs, **settings}
    held = fit_cache(model, editing(methods), cache, prompt_of(model, given), given)
    check_pictures_in_cache(model, given, held)
    return inputs, settings, held


def _servable(methods: Sequence[Bindable], config: Any, settings: dict[str, Any]) -> None:
    """Check for settings of `generate` that would be ignored here, or that methods would misread.

    Raises:
        SettingError: there is one; the message says what to do.
    """
    if settings.get("custom_generate") is not None:
        raise SettingError("custom_generate is a loop of its own: call model.generate with it")
    if config.cache_implementation == "paged":
        raise SettingError("cache_implementation='paged' (continuous batching) runs no decode loop: leave it out")
    if config.token_healing:
        raise SettingError(
            "token_healing writes the end of the prompt anew, which neither steps nor a trace can follow: "
            "pass token_healing=False, or give the prompt that model.heal_tokens makes"
        )
    given = settings.get("generation_config")
    if settings.get("output_attentions") or getattr(given, "output_attentions", False):
        raise SettingError("output_attentions is not kept here: ls.trace gives the attention rows of every token")
    acting = [method.name for method in methods if method.roles & (Role.ROWS | Role.LOOP)]
    if acting and config.guidance_scale not in (None, 1):
        raise SettingError(
            f"guidance_scale reads a second prompt, which {acting[0]} would take for the first: "
            "pass guidance_scale=None, or leave the method out"
        )


def _with_stop_strings(model: Any, config: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Stop strings as a stopping criterion: transformers does not hand the tokenizer on to a custom loop."""
    from transformers import StoppingCriteriaList, StopStringCriteria

    if not config.stop_strings:
        return settings
    tokenizer = settings.get("tokenizer")
    if tokenizer is None:
        where = "" if settings.get("stop_strings") else ", here from a generation_config,"
        raise SettingError(f"stop_strings{where} needs the tokenizer: pass tokenizer=processor.tokenizer")
    settings = {k: v for k, v in settings.items() if k not in ("stop_strings", "tokenizer")}
    if (given := settings.get("generation_config")) is not None:
        settings["generation_config"] = given = copy.deepcopy(given)
        given.stop_strings = None
    if model.generation_config.stop_strings:
        settings["stop_strings"] = None
    criteria = StoppingCriteriaList(settings.get("stopping_criteria") or [])
    criteria.append(StopStringCriteria(getattr(tokenizer, "tokenizer", tokenizer), config.stop_strings))
    return {**settings, "stopping_criteria": criteria}


DOES = {
    Role.LOOP: "runs the loop",
    Role.TOKENS: "decides each token",
    Role.LOGITS: "makes its logits for one text per sample",
    Role.HEARS: "hears each token as it is chosen",
}
"""Why a method of this role cannot run inside transformers' own loops; for messages."""


def _by_transformers(
    model: Any,
    inputs: Mapping[str, Any],
    methods: Sequence[Bindable],
    streamer: Any,
    config: Any,
    settings: dict[str, Any],
) -> GenerateOutput:
    """Generate with transformers' own loop (beams, assistants); attention methods act inside it."""
    for method in methods:
        does = next((does for role, does in DOES.items() if role in method.roles), None)
        if does is not None:
            raise SettingError(
                f"{method.name} {does} and cannot run under beams or an assistant, which the call or the checkpoint's "
                "generation_config asks for: pass num_beams=1 and no assistant"
            )
    begin = time.perf_counter()
    length = inputs["input_ids"].shape[1]
    parts = bound(methods, model)
    with session(model, parts.editors, parts.hooks) as state:
        state.prompt = prompt_of(model, {**inputs, **settings})
        out = model.generate(**hf.with_cache_named({**inputs, **settings}), streamer=streamer)
    sequences = getattr(out, "sequences", out)
    ends, pad = config.eos_token_id, config.pad_token_id
    counts = output_lengths(model, sequences, length, ends, pad).tolist()
    steps = [
        [TokenRecord(token) for token in row[length : length + count].tolist()]
        for row, count in zip(sequences, counts, strict=True)
    ]
    kept = sum(map(len, steps))
    cost = Cost(forwards=state.forwards, drafted=kept, kept=kept, seconds=time.perf_counter() - begin)
    ids = {"eos_token_id": () if ends is None else tuple(token_ids("eos_token_id", ends)), "pad_token_id": pad}
    return GenerateOutput(sequences, steps, cost, scores=getattr(out, "scores", None), **ids)


def decode_with(
    methods: Sequence[Bindable],
    model: Any,
    input_ids: Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    *,
    streamer: Any = None,
    sample_ids: Sequence[int] | None = None,
    run: RunInfo | None = None,
    **model_kwargs: Any,
) -> GenerateOutput:
    """The decode loop, which `model.generate` calls once everything is prepared. `run`: what was known before that."""
    numbers = list(range(len(input_ids)) if sample_ids is None else sample_ids)
    if len(numbers) != len(input_ids):
        raise SettingError(f"{len(numbers)} sample_ids for {len(input_ids)} samples: give one number per sample")
    run = dataclasses.replace(RunInfo() if run is None else run, sample_ids=numbers)
    parts = bound(methods, model, run)
    idle = not (parts.editors or parts.hooks or parts.shaper or parts.selector or parts.loop)
    if idle:
        hf.supported_decoder(model)
    opened = nullcontext() if idle else session(model, parts.editors, parts.hooks)
    with torch.inference_mode(False), torch.no_grad(), opened as state:
        if state is not None:
            state.prompt = Prompt.read(model, input_ids, model_kwargs.get("attention_mask"), input_ids.shape[1])
        generation = Generation(
            model,
            input_ids,
            logits_processor,
            stopping_criteria,
            generation_config,
            model_kwargs,
            streamer,
            parts,
            run,
            state,
        )
        if parts.shaper is not None:
            parts.shaper.open(generation)
        loop = parts.faster if parts.loop is None else parts.loop
        return Run(generation).finish() if loop is None else loop.decode(generation)
