"""The HTTP paths under /v1/calibrations: begin one, add labelled pictures, start it, see its state, fetch the guard."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from lvlm_saliency.chat import Chat
from lvlm_saliency.serve.calibrations.job import Job, least_loss
from lvlm_saliency.serve.calibrations.labels import labelled
from lvlm_saliency.serve.calibrations.store import Calibration, Calibrations
from lvlm_saliency.serve.exchange import body_of
from lvlm_saliency.serve.faults import Fault
from lvlm_saliency.serve.fields import flag, known, number
from lvlm_saliency.serve.requests import parsed
from lvlm_saliency.serve.settings import ServeSettings
from lvlm_saliency.serve.worker import Worker

PATH = "/v1/calibrations"


class Paths:
    """The handlers of the paths. store: None where the operator allows no calibrations."""

    def __init__(self, store: Calibrations | None, chat: Chat, worker: Worker, settings: ServeSettings):
        self._store, self.chat, self.worker, self.settings = store, chat, worker, settings

    def router(self) -> APIRouter:
        """The paths."""
        router = APIRouter()
        router.post(PATH)(self.begin)
        router.post(PATH + "/{name}/pictures")(self.add)
        router.post(PATH + "/{name}/start")(self.start)
        router.get(PATH + "/{name}")(self.look)
        router.delete(PATH + "/{name}")(self.give_up)
        router.get(PATH + "/{name}/guard.zip")(self.archive)
        return router

    @property
    def store(self) -> Calibrations:
        """The store. Raises `Fault` where calibrations are not allowed."""
        if self._store is None:
            raise Fault(403, "this server calibrates no guards: it is started with --calibrations DIR")
        return self._store

    async def begin(self, request: Request) -> Response:
        """Begin a new calibration."""
        store = self.store
        known(parsed(await body_of(request, self.settings)), set())
        return JSONResponse(store.begin().view(), 201)

    async def add(self, name: str, request: Request) -> Response:
        """Add a picture with its labelled texts."""
        found = self.store.one(name)
        content = await body_of(request, self.settings)
        await asyncio.to_thread(lambda: self.store.add(found, labelled(parsed(content), self.settings)))
        return JSONResponse(found.view())

    async def start(self, name: str, request: Request) -> Response:
        """Queue the calibration; it runs when no request is waiting."""
        found = self.store.one(name)
        body = parsed(await body_of(request, self.settings))
        known(body, {"recall_loss", "risk"})
        loss, risk = number(body, "recall_loss", 0, 1), flag(body, "risk")
        self._begin(found, 0.05 if loss is None else loss, risk)
        return JSONResponse(found.view(), 202)

    def _begin(self, found: Calibration, loss: float, risk: bool) -> None:
        if found.status != "open":
            raise Fault(409, f"this calibration is {found.status}: begin another")
        least = least_loss(found.pictures, risk)
        if not least <= loss < 1:
            raise Fault(
                400,
                f"{found.pictures} pictures can promise nothing about losing less than {least:.3g} of the correct "
                f"objects: give recall_loss at least so much (below 1), or more pictures",
                "recall_loss",
            )
        found.recall_loss, found.risk, found.status = loss, risk, "waiting"
        self.worker.take_on(Job(found, self.store, self.chat, self.settings.model))

    async def look(self, name: str) -> Response:
        """The state of a calibration."""
        return JSONResponse(self.store.one(name).view())

    async def give_up(self, name: str) -> Response:
        """Cancel a calibration and delete its pictures. A guard that it made stays."""
        found = self.store.one(name)
        await asyncio.to_thread(self.store.give_up, found)
        return JSONResponse(found.view())

    async def archive(self, name: str) -> Response:
        """The guard's files as a ZIP archive."""
        content = await asyncio.to_thread(self.store.archive, self.store.one(name))
        head: dict[str, Any] = {"Content-Disposition": 'attachment; filename="guard.zip"'}
        return Response(content, media_type="application/zip", headers=head)
