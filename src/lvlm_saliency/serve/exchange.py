"""Between a request and the worker: the body comes in, events come back, whole or as a stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import Request

from lvlm_saliency.serve.faults import Fault, fault_of
from lvlm_saliency.serve.replies import Replies, data
from lvlm_saliency.serve.rows import Failed, Row
from lvlm_saliency.serve.settings import ServeSettings


async def body_of(request: Request, settings: ServeSettings) -> bytes:
    """The body of a request within its limits. Raises `Fault`."""
    most = settings.max_body
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
        await asyncio.wait_for(read(), settings.body_seconds)
    except TimeoutError as error:
        raise Fault(408, f"the request did not arrive within {settings.body_seconds:g} seconds") from error
    return bytes(content)


def teller(events: asyncio.Queue[Any]) -> Callable[[Any], None]:
    """Puts a worker's events into a request's queue."""
    loop = asyncio.get_running_loop()

    def tell(event: Any) -> None:
        # The loop is closed only when the server stops, and then nobody listens.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(events.put_nowait, event)

    return tell


async def next_event(request: Request, events: asyncio.Queue[Any]) -> Any:
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


async def streamed(
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
        give_up(rows)


def give_up(rows: list[Row]) -> None:
    """Nobody waits for these texts any more."""
    for row in rows:
        if row.finish is None:
            row.cancelled = True


async def completed(request: Request, rows: list[Row], events: asyncio.Queue[Any], replies: Replies) -> None:
    """Wait until every text has ended. Raises `Fault` when one was given up, or the client has gone."""
    try:
        while not replies.complete:
            replies.take(await next_event(request, events))
    except BaseException:
        give_up(rows)
        raise
