"""Builds a server from its settings and binds its address."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

from lvlm_saliency.chat import Chat
from lvlm_saliency.errors import InputError
from lvlm_saliency.risk.model import SHIPPED, RiskModel
from lvlm_saliency.serve.app import Server
from lvlm_saliency.serve.connections import Listener
from lvlm_saliency.serve.logs import begin_log
from lvlm_saliency.serve.settings import ServeSettings

CONNECTIONS = 512
SECONDS_TO_STOP = 30


def risk_model(settings: ServeSettings, model: Any) -> RiskModel | None:
    """The risk model that the settings name, or the one that ships with the model; None where there is none.

    Raises:
        InputError: the file cannot be used, or belongs to another architecture.
    """
    if settings.risk is None and settings.model != "scenes":
        return None
    found = RiskModel.load(SHIPPED if settings.risk is None else settings.risk)
    found.check(model)
    return found


def prepared(settings: ServeSettings, chat: Chat) -> uvicorn.Server:
    """A server that is ready to run. On Ctrl-C and SIGTERM it finishes the texts that it is generating."""
    begin_log()
    app = Server(chat, settings, risk_model(settings, chat.model)).app()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=SECONDS_TO_STOP,
        h11_max_incomplete_event_size=64 * 1024,
    )
    return Listener(config, settings.body_seconds)


def bound(settings: ServeSettings) -> socket.socket:
    """The socket that the server listens on.

    Raises:
        InputError: the address is in use, or is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Named as TCP, so that asyncio sends what is there at once: else the end of an answer waits some 40 ms for the
    # client's acknowledgement of its beginning.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise InputError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error} (--port chooses another)"
        ) from error
    return listener
