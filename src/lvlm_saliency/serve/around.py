"""The middleware around every request: API keys, host names, request numbers, the log, metrics, and error replies."""

from __future__ import annotations

import json
import logging
import secrets
import time
from typing import Any

from fastapi import Request, Response

from lvlm_saliency.serve.faults import Fault, fault_of
from lvlm_saliency.serve.metrics import Metrics
from lvlm_saliency.serve.settings import LOOPBACK, ServeSettings

log = logging.getLogger("lvlm_saliency.serve")
OPEN = ("/", "/health")
"""Paths that need no key. The name of a report cannot be guessed, so whoever knows it may read the report."""
BELOW = ("/reports", "/v1/calibrations", "/v1/models")
KNOWN = (*OPEN, "/v1/models", "/v1/chat/completions", "/v1/score", "/v1/calibrations", "/metrics")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def check(request: Request, settings: ServeSettings) -> None:
    """Check the API key and the host name of a request. Raises `Fault`."""
    # Otherwise a foreign page whose host name resolves to this machine could reach it (DNS rebinding).
    if settings.on_loopback and (host := _host(request)) not in LOOPBACK:
        raise Fault(403, f"this server answers to localhost only, not to {host[:80]!r}")
    if not settings.keys or request.url.path in OPEN or is_report(request):
        return
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not settings.opens(key.strip()):
        raise Fault(401, "give a key of this server: Authorization: Bearer KEY", code="invalid_api_key")


class Around:
    """ASGI middleware that checks, numbers, logs and counts each request."""

    def __init__(self, app: Any, settings: ServeSettings, metrics: Metrics):
        self.app, self.settings, self.metrics = app, settings, metrics

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
                check(request, self.settings)
                await self.app(scope, receive, sending)
            # Details of an unexpected error go to the log only; the client gets a plain 500.
            except Exception as error:
                if not isinstance(error, Fault):
                    log.exception("a request failed", extra={"told": {"id": number}})
                if not status:
                    await answer(fault_of(error))(scope, receive, sending)
        finally:
            self._tell(request, number, status, time.perf_counter() - begin)

    def _tell(self, request: Request, number: str, status: int, seconds: float) -> None:
        path = _kind(request.url.path)
        self.metrics.count("requests_total", path=path, status=status)
        if path.startswith("/v1/"):
            self.metrics.observe("request_seconds", seconds)
        told = {"id": number, "method": request.method, "path": path, "status": status}
        log.info("request", extra={"told": {**told, "seconds": round(seconds, 4), **request.state.told}})


def _kind(path: str) -> str:
    """A path as log and metrics show it, without names that vary."""
    below = next((one for one in BELOW if path.startswith(f"{one}/")), "other")
    return path if path in KNOWN else below


def is_report(request: Request) -> bool:
    """Whether a request asks for a report."""
    return request.url.path.startswith("/reports/")


def _host(request: Request) -> str:
    host = request.headers.get("host", "").lower()
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.partition(":")[0]


def answer(fault: Fault) -> Response:
    """The HTTP response for a fault."""
    return Response(json.dumps(fault.body), fault.status, headers=fault.headers, media_type="application/json")
