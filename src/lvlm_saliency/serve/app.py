"""The application: paths, keys, limits, and the way from a request to the worker and back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.exceptions import HTTPException

from lvlm_saliency import __version__
from lvlm_saliency.chat import Chat
from lvlm_saliency.serve.faults import Fault, fault_of
from lvlm_saliency.serve.metrics import Metrics
from lvlm_saliency.serve.page import page
from lvlm_saliency.serve.replies import Replies, data
from lvlm_saliency.serve.reports import Reports
from lvlm_saliency.serve.requests import Asked, ToScore, chat_request, parsed, score_request
from lvlm_saliency.serve.rows import Failed, Row, sample_id
from lvlm_saliency.serve.settings import LOOPBACK, ServeSettings
from lvlm_saliency.serve.worker import Worker

log = logging.getLogger("lvlm_saliency.serve")
OPEN = ("/", "/health")
"""Paths that need no key. Reports have names that nobody guesses, and are open to who has one."""
KNOWN = (*OPEN, "/v1/models", "/v1/chat/completions", "/v1/score", "/metrics")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Server:
    """Model, worker and what they share."""

    def __init__(self, chat: Chat, settings: ServeSettings, risk: Any = None):
        self.chat, self.settings, self.risk = chat, settings, risk
        self.metrics, self.reports = Metrics(), Reports(settings.reports)
        self.worker = Worker(chat, settings, self.metrics, self.reports, risk)
        self.created = int(time.time())

    def app(self) -> FastAPI:
        """The application; its worker begins and ends with it."""

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            self.worker.start()
            yield
            self.worker.stop()
            await asyncio.to_thread(self.worker.join, 60)

        app = FastAPI(title="lvlm-saliency", version=__version__, lifespan=lifespan, openapi_url=None)
        app.add_middleware(_Around, server=self)
        app.exception_handler(HTTPException)(_http_fault)
        app.exception_handler(Fault)(_fault)
        app.get("/health")(self.health)
        app.get("/metrics")(self.metrics_text)
        app.get("/v1/models")(self.models)
        app.get("/v1/models/{name:path}")(self.model)
        app.post("/v1/chat/completions")(self.complete)
        app.post("/v1/score")(self.score)
        app.get("/reports/{name}")(self.report)
        app.get("/reports/{name}/data")(self.report_data)
        app.get("/")(self.page)
        return app

    # --- around every request ---

    def check(self, request: Request) -> None:
        """Keys and names of hosts. Raises `Fault`."""
        # A page elsewhere that points its own name at this machine would otherwise speak to a server on loopback.
        if self.settings.on_loopback and (host := _host(request)) not in LOOPBACK:
            raise Fault(403, f"this server answers to localhost only, not to {host[:80]!r}")
        if not self.settings.keys or request.url.path in OPEN or _is_report(request):
            return
        kind, _, key = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not self.settings.opens(key.strip()):
            raise Fault(401, "give a key of this server: Authorization: Bearer KEY", code="invalid_api_key")

    async def _body(self, request: Request) -> bytes:
        """The body of a request within its limits. Raises `Fault`."""
        most = self.settings.max_body
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Fault(415, "send JSON with Content-Type: application/json")
        length = request.headers.get("content-length", "")
        too_long = Fault(413, f"the request is longer than {most >> 20} MiB")
        if length.isdigit() and int(length) > most:
            raise too_long
        content = bytearray()

        async def read() -> None:
            async for part in request.stream():
                content.extend(part)
                if len(content) > most:
                    raise too_long

        try:
            await asyncio.wait_for(read(), self.settings.body_seconds)
        except TimeoutError as error:
            raise Fault(408, f"the request did not arrive within {self.settings.body_seconds:g} seconds") from error
        return bytes(content)

    # --- paths ---

    async def health(self) -> Response:
        """Whether the worker lives."""
        alive = self.worker.is_alive()
        told = {"status": "ok" if alive else "failed", "model": self.settings.shown, "waiting": self.worker.waiting}
        return JSONResponse(told, 200 if alive else 503)

    async def metrics_text(self) -> Response:
        """Counts for Prometheus."""
        return PlainTextResponse(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def models(self) -> Response:
        """The one model."""
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, name: str) -> Response:
        """The model by its name."""
        if name != self.settings.shown:
            raise Fault(404, f"there is no model {name[:80]!r} here", "model", "model_not_found")
        return JSONResponse(self._model())

    def _model(self) -> dict[str, Any]:
        from lvlm_saliency.detection.registry import detectors
        from lvlm_saliency.interventions.registry import methods

        own = {"methods": methods(), "detectors": detectors(), "risk": self.risk is not None}
        own |= {"max_tokens": self.settings.max_tokens, "version": __version__}
        head = {"id": self.settings.shown, "object": "model", "created": self.created, "owned_by": "lvlm-saliency"}
        return {**head, "lvlm_saliency": own}

    async def complete(self, request: Request) -> Response:
        """Chat completions."""
        content = await self._body(request)
        asked = await asyncio.to_thread(lambda: chat_request(parsed(content), self.settings, self.risk))
        events: asyncio.Queue[Any] = asyncio.Queue()
        rows = self._rows(asked, events)
        replies = Replies(self.settings.shown, asked.wishes, asked.choices)
        self._say(request, asked.query.question, len(rows), asked.stream)
        self.worker.submit(rows)
        if not asked.stream:
            return await self._whole(request, rows, events, replies)
        try:
            first = await _next(request, events)
        except BaseException:
            _give_up(rows)
            raise
        return StreamingResponse(
            _streamed(first, rows, events, replies, asked.usage),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    async def score(self, request: Request) -> Response:
        """What a text that someone wrote depends on."""
        content = await self._body(request)
        asked: ToScore = await asyncio.to_thread(lambda: score_request(parsed(content), self.settings, self.risk))
        events: asyncio.Queue[Any] = asyncio.Queue()
        row = Row(asked.query, asked.way, asked.wishes, 0, 0, 1, _teller(events), brought=asked.answer)
        self._say(request, asked.query.question, 1, False)
        self.worker.submit([row])
        return await self._whole(request, [row], events, Replies(self.settings.shown, asked.wishes, 1, "score"))

    async def report(self, name: str) -> Response:
        """A self-contained page: one report, or several with commas between."""
        content = await asyncio.to_thread(self.reports.page, name.removesuffix(".html").split(","))
        return HTMLResponse(content)

    async def report_data(self, name: str) -> Response:
        """What the page at / shows of a report."""
        return JSONResponse(self.reports.case(name))

    async def page(self) -> Response:
        """The page to try it on."""
        content, policy = page(self._model(), bool(self.settings.keys))
        return HTMLResponse(content, headers={"Content-Security-Policy": policy})

    # --- between request and worker ---

    def _rows(self, asked: Asked, events: asyncio.Queue[Any]) -> list[Row]:
        return [
            Row(
                query=asked.query,
                way=asked.way,
                wishes=asked.wishes,
                index=index,
                sample=sample_id(asked.seed, index),
                max_tokens=asked.max_tokens,
                tell=_teller(events),
                stop=asked.stop,
                streamed=asked.stream,
            )
            for index in range(asked.choices)
        ]

    async def _whole(self, request: Request, rows: list[Row], events: asyncio.Queue[Any], replies: Replies) -> Response:
        try:
            while not replies.complete:
                replies.take(await _next(request, events))
        except BaseException:
            _give_up(rows)
            raise
        request.state.told["tokens"] = replies.usage["completion_tokens"]
        if self.settings.log_content:
            request.state.told["answers"] = replies.texts
        return JSONResponse(replies.whole())

    def _say(self, request: Request, question: str, rows: int, stream: bool) -> None:
        request.state.told |= {"rows": rows, "stream": stream}
        if self.settings.log_content:
            request.state.told["question"] = question


class _Around:
    """What goes around every request: its number, keys, log, counts, and an answer to whatever fails."""

    def __init__(self, app: Any, server: Server):
        self.app, self.server = app, server

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, number, status = time.perf_counter(), secrets.token_hex(6), 0
        request = Request(scope)
        request.state.told = {}

        async def sending(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {**HEADERS, "X-Request-Id": number}
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in own.items())]
            await send(message)

        try:
            try:
                self.server.check(request)
                await self.app(scope, receive, sending)
            # What nobody foresaw is told to the log alone, and no client is left without an answer.
            except Exception as error:
                if not isinstance(error, Fault):
                    log.exception("a request failed", extra={"told": {"id": number}})
                if not status:
                    await _answer(fault_of(error))(scope, receive, sending)
        finally:
            self._tell(request, number, status, time.perf_counter() - begin)

    def _tell(self, request: Request, number: str, status: int, seconds: float) -> None:
        path = request.url.path if request.url.path in KNOWN else "/reports" if _is_report(request) else "other"
        self.server.metrics.count("requests_total", path=path, status=status)
        if path.startswith("/v1/"):
            self.server.metrics.observe("request_seconds", seconds)
        told = {"id": number, "method": request.method, "path": path, "status": status}
        log.info("request", extra={"told": {**told, "seconds": round(seconds, 4), **request.state.told}})


def _teller(events: asyncio.Queue[Any]) -> Callable[[Any], None]:
    """Puts a worker's events into a request's queue."""
    loop = asyncio.get_running_loop()

    def tell(event: Any) -> None:
        # The loop is closed only when the server stops, and then nobody listens.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(events.put_nowait, event)

    return tell


async def _next(request: Request, events: asyncio.Queue[Any]) -> Any:
    """The next event. Raises `Fault` when the text was given up, or the client has gone."""
    while True:
        try:
            event = await asyncio.wait_for(events.get(), 0.25)
        except TimeoutError:
            if await request.is_disconnected():
                raise Fault(499, "the client has gone") from None
            continue
        if isinstance(event, Failed):
            raise fault_of(event.error) from event.error
        return event


async def _streamed(
    first: Any, rows: list[Row], events: asyncio.Queue[Any], replies: Replies, usage: bool
) -> AsyncIterator[bytes]:
    """A stream of chunks; when its client goes away, its rows are given up."""
    try:
        for row in rows:
            yield replies.begin(row.index)
        event = first
        while True:
            if isinstance(event, Failed):
                yield data(fault_of(event.error).body)
                return
            replies.take(event)
            yield replies.chunk(event)
            if replies.complete:
                break
            event = await events.get()
        for chunk in replies.last(usage):
            yield chunk
    finally:
        _give_up(rows)


def _give_up(rows: list[Row]) -> None:
    for row in rows:
        if row.finish is None:
            row.cancelled = True


def _is_report(request: Request) -> bool:
    return request.url.path.startswith("/reports/")


def _host(request: Request) -> str:
    host = request.headers.get("host", "").lower()
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.partition(":")[0]


def _answer(fault: Fault) -> Response:
    return Response(json.dumps(fault.body), fault.status, headers=fault.headers, media_type="application/json")


async def _fault(_: Request, fault: Exception) -> Response:
    return _answer(fault_of(fault))


async def _http_fault(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    said = {404: "there is nothing at this path", 405: "this path does not take that method"}
    return _answer(Fault(status, said.get(status, "the request cannot be served")))
