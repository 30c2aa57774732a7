"""The web application: its HTTP paths and the handler of each."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.exceptions import HTTPException

from lvlm_saliency import __version__
from lvlm_saliency.chat import Chat
from lvlm_saliency.model.thinking import marks_of
from lvlm_saliency.serve.around import Around, answer
from lvlm_saliency.serve.calibrations.paths import Paths
from lvlm_saliency.serve.calibrations.store import Calibrations
from lvlm_saliency.serve.exchange import body_of, completed, give_up, next_event, streamed, teller
from lvlm_saliency.serve.faults import Fault, fault_of
from lvlm_saliency.serve.metrics import Metrics
from lvlm_saliency.serve.page import page
from lvlm_saliency.serve.replies import Replies
from lvlm_saliency.serve.reports import Reports
from lvlm_saliency.serve.requests import Asked, ToScore, chat_request, parsed, score_request
from lvlm_saliency.serve.rows import Row, sample_id
from lvlm_saliency.serve.settings import ServeSettings
from lvlm_saliency.serve.worker import Worker


class Server:
    """The model, the worker thread that runs it, and the state that requests share."""

    def __init__(self, chat: Chat, settings: ServeSettings, risk: Any = None):
        self.chat, self.settings, self.risk = chat, settings, risk
        self.metrics, self.reports = Metrics(), Reports(settings.reports)
        self.worker = Worker(chat, settings, self.metrics, self.reports, risk)
        folder = settings.calibrations
        self.calibrations = None if folder is None else Calibrations(folder, chat.model, chat.tokenizer)
        self.created = int(time.time())

    def app(self) -> FastAPI:
        """The FastAPI application. The worker thread starts and stops with it."""

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            self.worker.start()
            yield
            self.worker.stop()
            await asyncio.to_thread(self.worker.join, 60)
            if self.calibrations is not None:
                self.calibrations.close()

        app = FastAPI(title="lvlm-saliency", version=__version__, lifespan=lifespan, openapi_url=None)
        app.add_middleware(Around, settings=self.settings, metrics=self.metrics)
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
        app.include_router(Paths(self.calibrations, self.chat, self.worker, self.settings).router())
        return app

    # --- paths ---

    async def health(self) -> Response:
        """Whether the worker thread is alive."""
        alive = self.worker.is_alive()
        told = {"status": "ok" if alive else "failed", "model": self.settings.shown, "waiting": self.worker.waiting}
        return JSONResponse(told, 200 if alive else 503)

    async def metrics_text(self) -> Response:
        """Metrics in the format of Prometheus."""
        return PlainTextResponse(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def models(self) -> Response:
        """The list of models, which has one entry."""
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, name: str) -> Response:
        """The entry of one model."""
        if name != self.settings.shown:
            raise Fault(404, f"there is no model {name[:80]!r} here", "model", "model_not_found")
        return JSONResponse(self._model())

    @property
    def guards(self) -> dict[str, Any]:
        """The guards that were calibrated here, by name."""
        return {} if self.calibrations is None else self.calibrations.guards

    def _model(self) -> dict[str, Any]:
        from lvlm_saliency.detection.registry import detectors
        from lvlm_saliency.interventions.registry import methods

        own = {"methods": methods(), "detectors": detectors(), "risk": self.risk is not None}
        own |= {"guards": sorted(self.guards), "calibrates": self.calibrations is not None}
        own |= {"max_tokens": self.settings.max_tokens, "max_pictures": self.settings.max_pictures}
        own |= {"version": __version__}
        own["thinks"] = marks_of(self.chat.processor) is not None
        head = {"id": self.settings.shown, "object": "model", "created": self.created, "owned_by": "lvlm-saliency"}
        return {**head, "lvlm_saliency": own}

    async def complete(self, request: Request) -> Response:
        """Chat completions, whole or streamed."""
        content = await body_of(request, self.settings)
        with self.worker.expecting():
            asked = await asyncio.to_thread(
                lambda: chat_request(parsed(content), self.settings, self.risk, self.guards)
            )
            events: asyncio.Queue[Any] = asyncio.Queue()
            rows = self._rows(asked, events)
            replies = Replies(self.settings.shown, asked.wishes, asked.choices)
            self._say(request, asked.query.question, len(rows), asked.stream)
            self.worker.submit(rows)
        if not asked.stream:
            return await self._whole(request, rows, events, replies)
        try:
            first = await next_event(request, events)
        except BaseException:
            give_up(rows)
            raise
        return StreamingResponse(
            streamed(first, rows, events, replies, asked.usage),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    async def score(self, request: Request) -> Response:
        """Explain a text that the client supplies."""
        content = await body_of(request, self.settings)
        asked: ToScore = await asyncio.to_thread(lambda: score_request(parsed(content), self.settings, self.risk))
        events: asyncio.Queue[Any] = asyncio.Queue()
        row = Row(asked.query, asked.way, asked.wishes, 0, 0, 1, teller(events), brought=asked.answer)
        self._say(request, asked.query.question, 1, False)
        self.worker.submit([row])
        return await self._whole(request, [row], events, Replies(self.settings.shown, asked.wishes, 1, "score"))

    async def report(self, name: str) -> Response:
        """A self-contained HTML page of one report, or of several whose names are separated by commas."""
        content = await asyncio.to_thread(self.reports.page, name.removesuffix(".html").split(","))
        return HTMLResponse(content)

    async def report_data(self, name: str) -> Response:
        """A report as JSON, for the page at /."""
        return JSONResponse(self.reports.case(name))

    async def page(self) -> Response:
        """The demonstration page at /."""
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
                tell=teller(events),
                stop=asked.stop,
                streamed=asked.stream,
            )
            for index in range(asked.choices)
        ]

    async def _whole(self, request: Request, rows: list[Row], events: asyncio.Queue[Any], replies: Replies) -> Response:
        await completed(request, rows, events, replies)
        request.state.told["tokens"] = replies.usage["completion_tokens"]
        if self.settings.log_content:
            request.state.told["answers"] = replies.texts
        return JSONResponse(replies.whole())

    def _say(self, request: Request, question: str, rows: int, stream: bool) -> None:
        request.state.told |= {"rows": rows, "stream": stream}
        if self.settings.log_content:
            request.state.told["question"] = question


async def _fault(_: Request, fault: Exception) -> Response:
    return answer(fault_of(fault))


async def _http_fault(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    said = {404: "there is nothing at this path", 405: "this path does not take that method"}
    return answer(Fault(status, said.get(status, "the request cannot be served")))
