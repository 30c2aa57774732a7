"""`generate`: decoding with methods, on unmodified models, under every ordinary `generate` setting."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.given import given_methods, shapes
from lvlm_saliency.attention.prompts import Prompt, brought_cache, check_pictures_in_cache, fit_cache, prompt_of
from lvlm_saliency.attention.session import session
from lvlm_saliency.decoding.contrast import with_pictures
from lvlm_saliency.decoding.run import Run
from lvlm_saliency.decoding.search import search_settings, search_with
from lvlm_saliency.decoding.steps import Cost, GenerateOutput, Step
from lvlm_saliency.errors import SettingError
from lvlm_saliency.model.inputs import check_inputs
from lvlm_saliency.model.regions import output_lengths, token_ids


def generate(
    model, inputs: dict, methods: Sequence = (), *, streamer=None, sample_ids=None, **settings
) -> GenerateOutput:
    """Generate with methods.

    Args:
        model: a decoder-only transformers model.
        inputs: what its processor returned; prompts of different length are left-padded.
        methods: `LocoRE(...)`, `SGRS(...)`, ...: any number that edit attention, and one that decides the tokens.
        streamer: as in `model.generate`.
        sample_ids: numbers that name the samples to seeded methods, default 0, 1, ...; a sample draws the same under
            the same number, whoever shares its batch.
        settings: every keyword of `model.generate` (max_new_tokens, do_sample, temperature, top_p, repetition_penalty,
            stop_strings with tokenizer, output_scores, ...).

    Returns:
        GenerateOutput: sequences, steps, cost.

    Raises:
        InputError: inputs that the model would stumble over or misread; the message says what to do.
        SettingError: methods that cannot be composed, or a setting that a method cannot serve.
        UnsupportedModelError: the model's attention cannot be captured.
        NumericalError: the logits are not finite.
    """
    methods = composed(methods)
    for method in methods:
        method.check_model(model)
    inputs, settings, held = _going_on(model, inputs, methods, settings)
    for method in methods:
        if getattr(method, "needs_picture", False) and not held:
            with_pictures(method.name, inputs)
    check_inputs(model, inputs, held=held)
    searching = next((method for method in methods if hasattr(method, "search")), None)
    own = {} if searching is None else {"num_beams": 1, "num_return_sequences": 1, "do_sample": False}
    config = hf.call_settings(model, {**settings, **own})
    plainly = hf.token_by_token(config, settings.get("assistant_model"))
    _servable(methods, config, settings)
    settings = _with_stop_strings(model, config, settings)
    if any(settings.get(name) for name in ("output_scores", "output_logits", "output_hidden_states")):
        settings.setdefault("return_dict_in_generate", True)  # transformers warns otherwise
    if searching is not None:
        settings, returned = search_settings(model, searching, settings)
        editors = [method for method in methods if method is not searching]
        loop = functools.partial(search_with, searching, editors, returned, streamer=streamer)
        return hf.prepared(model, dict(inputs), loop, streamer=streamer, **settings)
    if not plainly:
        return _by_transformers(model, inputs, methods, streamer, config, settings)
    loop = functools.partial(decode_with, methods, streamer=streamer, sample_ids=sample_ids, given=dict(inputs))
    return hf.prepared(model, dict(inputs), loop, streamer=streamer, **settings)


def composed(methods: Sequence) -> list:
    """The methods as a list, checked to go together.

    Raises:
        SettingError: no methods at all but names or classes, two that decide the tokens or make the logits, or the same
            method twice; the message says why.
    """
    methods = given_methods(methods)
    deciding = [method.name for method in methods if hasattr(method, "selector") or hasattr(method, "search")]
    if len(deciding) > 1:
        raise SettingError(f"{' and '.join(deciding)} each decide the next token; choose one of them")
    shaping = [method.name for method in methods if shapes(method)]
    if len(shaping) > 1:
        raise SettingError(f"{' and '.join(shaping)} each make new logits of the model's; choose one of them")
    searching = [method.name for method in methods if hasattr(method, "search")]
    if shaping and searching:
        raise SettingError(
            f"{shaping[0]} makes its logits for one text per sample and cannot feed {searching[0]}'s beams"
        )
    return methods


def _going_on(model, inputs: dict, methods: Sequence, settings: dict) -> tuple[dict, dict, int]:
    """The inputs and settings where the caller brings a cache, and how many tokens of the prompt it holds, 0 without.

    Raises:
        SettingError, PromptError: what is in the cache cannot be gone on from; the message says why.
    """
    cache = hf.cache_of({**inputs, **settings})
    if cache is None:
        return inputs, settings, 0
    inputs, own = hf.without_cache(inputs)
    settings = {**own, **settings}
    if brought_cache(settings) is None:
        return inputs, settings, 0
    for method in methods:
        if hasattr(method, "readings") and (method.extra_forwards or method.first_only):
            raise SettingError(
                f"{method.name} reads a second prompt, and the cache holds a part of the first: leave the cache out"
            )
    given = {**inputs, **settings}
    editors = [method for method in methods if hasattr(method, "edit_rows") or hasattr(method, "hooks")]
    held = fit_cache(model, editors, cache, prompt_of(model, given), given)
    check_pictures_in_cache(model, given, held)
    return inputs, settings, held


def _servable(methods: Sequence, config, settings: dict) -> None:
    """Refuse settings of `generate` that would be ignored here, or that methods would misread.

    Raises:
        SettingError: naming the setting and what to do.
    """
    if settings.get("custom_generate") is not None:
        raise SettingError("custom_generate is a loop of its own: call model.generate with it")
    if config.cache_implementation == "paged":
        raise SettingError("cache_implementation='paged' batches continuously, past any loop: leave it out")
    if config.token_healing:
        raise SettingError(
            "token_healing writes the end of the prompt anew, which neither steps nor a trace can follow: "
            "pass token_healing=False, or give the prompt that model.heal_tokens makes"
        )
    given = settings.get("generation_config")
    if settings.get("output_attentions") or getattr(given, "output_attentions", False):
        raise SettingError("output_attentions is not kept here: ls.trace gives the attention rows of every token")
    acting = [m.name for m in methods if hasattr(m, "edit_rows") or hasattr(m, "hooks") or hasattr(m, "search")]
    if acting and config.guidance_scale not in (None, 1):
        raise SettingError(
            f"guidance_scale reads a second prompt, which {acting[0]} would take for the first: "
            "pass guidance_scale=None, or leave the method out"
        )


def _with_stop_strings(model, config, settings: dict) -> dict:
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


def _by_transformers(model, inputs, methods, streamer, config, settings) -> GenerateOutput:
    """Decoding modes that transformers runs itself (beams, assistants); attention methods act inside them."""
    for method in methods:
        if hasattr(method, "selector") or shapes(method):
            does = "decides each token" if hasattr(method, "selector") else "makes its logits for one text per sample"
            raise SettingError(
                f"{method.name} {does} and cannot run under beams or an assistant, which the call or the checkpoint's "
                "generation_config asks for: pass num_beams=1 and no assistant"
            )
    begin = time.perf_counter()
    length = inputs["input_ids"].shape[1]
    with session(model, methods) as state:
        state.prompt = prompt_of(model, {**inputs, **settings})
        out = model.generate(**hf.with_cache_named({**inputs, **settings}), streamer=streamer)
    sequences = getattr(out, "sequences", out)
    ends, pad = config.eos_token_id, config.pad_token_id
    counts = output_lengths(model, sequences, length, ends, pad).tolist()
    steps = [
        [Step(token) for token in row[length : length + count].tolist()]
        for row, count in zip(sequences, counts, strict=True)
    ]
    kept = sum(map(len, steps))
    cost = Cost(forwards=state.forwards, drafted=kept, kept=kept, seconds=time.perf_counter() - begin)
    ids = {"eos_token_id": () if ends is None else tuple(token_ids("eos_token_id", ends)), "pad_token_id": pad}
    return GenerateOutput(sequences, steps, cost, scores=getattr(out, "scores", None), **ids)


def decode_with(
    methods: Sequence,
    model,
    input_ids: Tensor,
    logits_processor,
    stopping_criteria,
    generation_config,
    *,
    streamer=None,
    sample_ids=None,
    given: dict | None = None,
    **model_kwargs,
) -> GenerateOutput:
    """The decode loop, called by `model.generate` once everything is prepared; `given` are the inputs before that."""
    batch, prompt_length = input_ids.shape
    numbers = list(range(batch)) if sample_ids is None else list(sample_ids)
    if len(numbers) != batch:
        raise SettingError(f"{len(numbers)} sample_ids for {batch} samples: give one number per sample")
    editors = [m for m in methods if hasattr(m, "edit_rows") or hasattr(m, "hooks")]
    decider = next((m for m in methods if hasattr(m, "selector")), None)
    selector = None if decider is None else decider.selector(model, numbers)
    shaper = next((m.shaper(model, given, numbers) for m in methods if shapes(m)), None)
    kind = _kind_of_run(decider, model, generation_config, model_kwargs, shaper)
    hooked = [shaper] if hasattr(shaper, "hooks") else []
    idle = selector is None and shaper is None and not editors
    if idle:
        hf.supported_decoder(model)
    opened = nullcontext() if idle else session(model, [*editors, *hooked])
    with torch.inference_mode(False), torch.no_grad(), opened as state:
        if not idle:
            state.prompt = Prompt.read(model, input_ids, model_kwargs.get("attention_mask"), prompt_length)
        if shaper is not None:
            length = generation_config.max_length - prompt_length
            shaper.open(model, state, batch, length, model_kwargs.get("use_cache", True))
        run = kind(model, input_ids, logits_processor, stopping_criteria, generation_config, streamer, selector, state)
        run.shaper = shaper
        return run.finish(model_kwargs)


def _kind_of_run(decider, model, config, model_kwargs: dict, shaper):
    """Step by step, or in blocks where the deciding method has such an execution and nothing stands in its way."""
    execution = getattr(decider, "execution", "stepwise")
    if execution == "stepwise":
        return Run
    from lvlm_saliency.decoding.blockwise import BlockRun, obstacle

    reason = obstacle(model, config, model_kwargs)
    if shaper is not None:
        reason = "another method makes the logits, one step at a time"
    if reason and execution == "blockwise":
        raise SettingError(f"{decider.name}: execution='blockwise' is not possible here: {reason}")
    return Run if reason else functools.partial(BlockRun, fixed=execution == "blockwise")
