"""Grounding out of vLLM's OpenAI-compatible server.

An endpoint plug-in (`VLLM_PLUGINS=lvlm_saliency`): requests to chat and text completions whose `vllm_xargs` hold a true
`grounding` get it back, one entry a token, under `grounding` of their choice; streamed answers with each chunk. Where
the server was started with LVLM_SALIENCY_RISK=FILE, every entry has the causal risk of its token.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from lvlm_saliency_vllm import admission
from lvlm_saliency_vllm.answers import Answer, Wanted
from lvlm_saliency_vllm.grounding import GroundingError
from lvlm_saliency_vllm.risk import CausalRisk
from lvlm_saliency_vllm.settings import SettingError
from lvlm_saliency_vllm.worker import READ, STATE

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATHS = ("/v1/chat/completions", "/v1/completions")
RISK = "LVLM_SALIENCY_RISK"
LONGEST_BODY = 64 << 20
"""Bytes of a request that are read to look for the setting; vLLM reads the whole body too."""


class GroundingEndpoint:
    """vLLM's interface of endpoint plug-ins."""

    name = "lvlm_saliency"
    required_tasks = ("generate",)

    def attach_router(self, app: Any) -> None:
        """Wrap the completions' routes, inside authentication, and add `GET /v1/lvlm_saliency`."""
        app.add_middleware(GroundingMiddleware)

        @app.get("/v1/lvlm_saliency")
        async def lvlm_saliency() -> dict[str, Any]:
            """Whether settings are served here, or why not; layers; whether tokens get a risk."""
            known = app.state.lvlm_saliency
            return {"problem": known.problem, "layers": known.layers, "risk": known.risk is not None}

    async def init_state(self, engine_client: Any, state: Any, args: Any) -> None:
        """Ask the engine what it can do, so that the rest is refused at the door, and read the risk file."""
        found = (await engine_client.collective_rpc(STATE))[0]
        admission.state["problem"], admission.state["layers"] = found["problem"], found["layers"]
        state.lvlm_saliency = Serving(engine_client, found["problem"], found["layers"], args)


class Serving:
    """What the server knows of its engine. risk: the model of LVLM_SALIENCY_RISK, or None."""

    def __init__(self, engine: Any, problem: str, layers: list[int], args: Any):
        self.engine, self.problem, self.layers = engine, problem, layers
        path = os.environ.get(RISK)
        self.risk = CausalRisk.load(path) if path else None
        if self.risk and (missing := sorted(set(self.risk.layers) - set(layers))) and not problem:
            raise SettingError(f"the risk model of {RISK} reads layers {missing}, and the model has {layers}")
        config = engine.vllm_config
        self.refusal = ""
        if config.parallel_config.data_parallel_size > 1:
            self.refusal = "grounding is not given by data-parallel engines: a call reaches only one of them"
        elif config.model_config.logprobs_mode != "raw_logprobs":
            self.refusal = f"grounding needs --logprobs-mode raw_logprobs, not {config.model_config.logprobs_mode}"
        elif getattr(args, "reasoning_parser", None) or getattr(args, "tool_call_parser", None):
            self.refusal = "grounding is not given where a reasoning or tool parser hides some of the tokens"

    async def read(self, key: str, start: int, take: bool) -> Mapping[str, Any]:
        """The readings of a request from a token on."""
        return (await self.engine.collective_rpc(READ, args=([key], [start], take)))[0][0]


class GroundingMiddleware:
    """Adds what was asked for to the answers of completions; every other request passes untouched."""

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or scope["method"] != "POST" or path not in PATHS:
            return await self.app(scope, receive, send)
        body = await _body(receive)
        wanted = _wanted(body, chat="chat" in path)
        if wanted is None:
            return await self.app(scope, _replayed(body, receive), send)
        serving = scope["app"].state.lvlm_saliency
        if refusal := serving.problem or serving.refusal or wanted.refusal():
            return await _refuse(send, refusal)
        new = wanted.asking(serving.risk, serving.layers)
        scope = {**scope, "headers": _with_length(scope["headers"], len(new))}
        answering = _Answering(send, serving, wanted)
        try:
            return await self.app(scope, _replayed(new, receive), answering.send)
        finally:
            await serving.read(wanted.key, 0, True)  # whatever became of the request, nothing of it is kept


class _Answering:
    """The other side of one request: collects, or passes on chunk by chunk, what the server sends."""

    def __init__(self, send: Send, serving: Serving, wanted: Wanted):
        self.onward, self.serving, self.answer = send, serving, Answer(wanted, serving.risk)
        self.start: Message = {}
        self.kept = b""
        self.plain = False

    async def send(self, message: Message) -> None:
        """In place of the server's own `send`."""
        if message["type"] == "http.response.start":
            self.start, self.plain = message, message["status"] != 200
            kind = dict(message["headers"]).get(b"content-type", b"")
            self.streams = kind.startswith(b"text/event-stream")
            if self.plain or self.streams:
                await self.onward(message)
            return
        if message["type"] != "http.response.body" or self.plain:
            await self.onward(message)
            return
        self.kept += message.get("body", b"")
        more = message.get("more_body", False)
        if self.streams:
            *whole, self.kept = self.kept.split(b"\n\n")
            events = b"".join([await self._event(event) + b"\n\n" for event in whole])
            rest = b"" if more else self.kept
            await self.onward({"type": "http.response.body", "body": events + rest, "more_body": more})
        elif not more:
            body = await self._whole(self.kept)
            await self.onward({**self.start, "headers": _with_length(self.start["headers"], len(body))})
            await self.onward({"type": "http.response.body", "body": body})

    async def _event(self, event: bytes) -> bytes:
        if not event.startswith(b"data: {"):
            return event
        chunk = json.loads(event.removeprefix(b"data: "))
        return b"data: " + (await self._grounded(chunk)) if "choices" in chunk else event

    async def _whole(self, body: bytes) -> bytes:
        return await self._grounded(json.loads(body))

    async def _grounded(self, content: dict[str, Any]) -> bytes:
        answer = self.answer
        for choice in content["choices"]:
            if answer.hear(choice):
                read = await self.serving.read(answer.wanted.key, len(answer.entropy), False)
                try:
                    choice["grounding"] = answer.read(read, content.get("usage"))
                except GroundingError as error:
                    choice["grounding"] = {"error": str(error)}
        answer.tidy(content)
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _wanted(body: bytes, chat: bool) -> Wanted | None:
    """What a request asks of us; None where it asks for nothing, or is no request that can be read (vLLM says so)."""
    if b"grounding" not in body:
        return None
    try:
        content = json.loads(body)
    except ValueError:
        return None
    given = content.get("vllm_xargs") if isinstance(content, dict) else None
    if not isinstance(given, dict) or not given.get("grounding"):
        return None
    return Wanted(content, chat, uuid.uuid4().hex)


async def _body(receive: Receive) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if message["type"] != "http.request" or not message.get("more_body") or size > LONGEST_BODY:
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive` that gives a body that was read already, and then waits for the client as before."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_length(headers: Any, length: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*kept, (b"content-length", str(length).encode())]


async def _refuse(send: Send, reason: str) -> None:
    error = {"message": reason, "type": "BadRequestError", "param": "vllm_xargs", "code": 400}
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})
