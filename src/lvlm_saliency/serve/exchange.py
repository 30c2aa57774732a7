"""Between a request and the worker: reads the body, and returns the worker's events whole or as a stream."""

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
    """Read the body of a request within the limits of size and time. Raises `Fault`."""
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
    """A function that puts events into a request's queue from the worker's thread."""
    loop = asyncio.get_running_loop()

    def tell(event: Any) -> None:
        # The event loop is closed only when the server stops; then nobody waits for events.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(events.put_nowait, event)

    return tell


async def next_event(request: Request, events: asyncio.Queue[Any]) -> Any:
    """The next event. Raises `Fault` when the text failed or the client has disconnected."""
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
    """A stream of chunks. When the client disconnects, its rows are cancelled."""
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
    """Cancel rows whose client has gone."""
    for row in rows:
        if row.finish is None:
            row.cancelled = True


async def completed(request: Request, rows: list[Row], events: asyncio.Queue[Any], replies: Replies) -> None:
    """Wait until every text has ended. Raises `Fault` when one failed or the client has disconnected."""
    try:
        while not replies.complete:
            replies.take(await next_event(request, events))
    except BaseException:
        give_up(rows)
        raise
