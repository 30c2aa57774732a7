"""Parses and checks requests: chat completions, and texts to be explained."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lvlm_saliency.attention.given import editing
from lvlm_saliency.chat import Message, Query
from lvlm_saliency.errors import LvlmSaliencyError
from lvlm_saliency.files import parse_json
from lvlm_saliency.serve.extension import EXTRA, extension, wishes_of
from lvlm_saliency.serve.faults import Fault
from lvlm_saliency.serve.fields import flag, known, number, stops, text, whole
from lvlm_saliency.serve.messages import picture, query_of
from lvlm_saliency.serve.rows import Way, Wishes
from lvlm_saliency.serve.settings import ServeSettings
from lvlm_saliency.serve.ways import way_of

IGNORED = {
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
    "reasoning_effort",
    "verbosity",
}
"""Fields of OpenAI's API that are accepted and ignored."""
NEUTRAL = {
    "frequency_penalty": (0, None),
    "presence_penalty": (0, None),
    "logit_bias": ({}, None),
    "tools": ([], None),
    "tool_choice": ("none", "auto", None),
    "functions": ([], None),
    "function_call": ("none", "auto", None),
    "response_format": ({"type": "text"}, None),
    "modalities": (["text"], None),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
}
"""Fields of OpenAI's API for features that are not served: only these values, which ask for nothing, are accepted."""


@dataclass(frozen=True)
class Asked:
    """A checked request for chat completions."""

    query: Query
    way: Way
    wishes: Wishes
    choices: int
    seed: int
    max_tokens: int
    stop: tuple[str, ...]
    stream: bool
    usage: bool


@dataclass(frozen=True)
class ToScore:
    """A checked request to explain a text that the client supplies."""

    query: Query
    answer: str
    wishes: Wishes
    way: Way = field(default_factory=Way)


def parsed(content: bytes) -> Mapping[str, Any]:
    """The JSON object of a request's body. Raises `Fault`."""
    try:
        value = parse_json(content)
    except (ValueError, LvlmSaliencyError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise Fault(400, f"the request's body is no JSON: {reason}") from error
    if not isinstance(value, dict):
        raise Fault(400, "the request's body must be a JSON object")
    return value


def chat_request(
    body: Mapping[str, Any], settings: ServeSettings, risk: Any, guards: Mapping[str, Sequence[Any]]
) -> Asked:
    """Check a request for chat completions.

    Args:
        risk: the server's risk model, or None.
        guards: methods of the guards that were calibrated on this server, by name.

    Raises:
        Fault: a field that is wrong.
    """
    own = {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
    }
    own |= {"n", "seed", "stop", "logprobs", "top_logprobs", EXTRA}
    known(body, own | IGNORED | set(NEUTRAL))
    _model(body, settings)
    for name, values in NEUTRAL.items():
        if name in body and body[name] not in values:
            raise Fault(400, f"{name} is not served here: leave it out", name)
    temperature = number(body, "temperature", 0, 2)
    top_p = number(body, "top_p", 0, 1)
    if top_p == 0:
        raise Fault(400, "top_p must be above 0", "top_p")
    if temperature is not None and 0 < temperature < 1e-3:
        temperature = 0.0  # at so low a temperature sampling is greedy
    choices = whole(body, "n", 1, settings.max_choices) or 1
    limit = whole(body, "max_completion_tokens", 1, settings.max_tokens)
    limit = whole(body, "max_tokens", 1, settings.max_tokens) if limit is None else limit
    wanted = extension(body.get(EXTRA))
    sampled = temperature != 0 and not (temperature is None and top_p is None)
    heat, mass = 1.0 if temperature is None else temperature, 1.0 if top_p is None else top_p
    way = way_of(wanted["methods"], sampled, heat, mass, guards)
    wishes = wishes_of(body, wanted, risk)
    if wishes.top and not way.live:
        raise Fault(400, "top_logprobs are not there for a method that searches: leave them out", "top_logprobs")
    stream = flag(body, "stream")
    if wishes.drafts and not (stream and way.settles):
        raise Fault(400, "drafts go with stream=true and the method guard, which alone makes any", f"{EXTRA}.drafts")
    options = body.get("stream_options")
    if options is not None and (not isinstance(options, dict) or not stream):
        raise Fault(400, "stream_options go with stream=true and are an object", "stream_options")
    seed = whole(body, "seed", -(2**63), 2**63 - 1)
    if seed is None and way.settles and not way.sampled:
        seed = 0  # a guard draws when it rewrites a sentence: a fixed seed keeps greedy requests reproducible
    return Asked(
        query=query_of(body, settings),
        way=way,
        wishes=wishes,
        choices=choices,
        seed=secrets.randbits(63) if seed is None else seed % 2**63,
        max_tokens=min(256, settings.max_tokens) if limit is None else limit,
        stop=stops(body.get("stop")),
        stream=stream,
        usage=bool((options or {}).get("include_usage")),
    )


def score_request(body: Mapping[str, Any], settings: ServeSettings, risk: Any) -> ToScore:
    """Check a request to explain a text that the client supplies.

    It holds `answer`, and either `messages` as for chat completions, or `prompt` with `image` (a data URL) or `images`.

    Raises:
        Fault: a field that is wrong.
    """
    known(body, {"model", "messages", "prompt", "image", "images", "answer", "logprobs", EXTRA} | IGNORED)
    _model(body, settings)
    answer = text(body.get("answer"), "answer")
    if "messages" in body:
        if given := {"prompt", "image", "images"} & set(body):
            raise Fault(400, f"{min(given)} goes without messages: give one of the two", min(given))
        query = query_of(body, settings)
    else:
        urls = body.get("images", [])
        urls = [body["image"]] if "image" in body else urls
        if not isinstance(urls, list) or len(urls) > settings.max_pictures:
            raise Fault(400, f"images must be a list of at most {settings.max_pictures} data URLs", "images")
        pictures = [picture(url, f"images[{at}]", settings) for at, url in enumerate(urls)]
        parts = [*pictures, text(body.get("prompt"), "prompt")]
        query = Query(messages=[Message("user", parts)])
    wanted = extension(body.get(EXTRA))
    if wanted["drafts"]:
        raise Fault(400, "a text that was brought has no drafts", f"{EXTRA}.drafts")
    way = way_of(wanted["methods"], False, 1.0, 1.0)
    if len(editing(way.methods)) < len(way.methods):
        raise Fault(
            400, "a text that was brought can only be read under methods that edit attention", f"{EXTRA}.methods"
        )
    wishes = wishes_of({"logprobs": True, **{k: v for k, v in body.items() if k == "logprobs"}}, wanted, risk)
    if not wishes.traced:
        wishes = Wishes(logprobs=True, explain=True)
    return ToScore(query, answer, wishes, way)


def _model(body: Mapping[str, Any], settings: ServeSettings) -> None:
    name = body.get("model", settings.shown)
    if name != settings.shown:
        said = name[:80] if isinstance(name, str) else type(name).__name__
        raise Fault(404, f"there is no model {said!r} here, but {settings.shown!r}", "model", "model_not_found")
