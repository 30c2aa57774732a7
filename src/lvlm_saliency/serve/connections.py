"""Closes connections on which nothing moves: clients that send and read nothing would keep all others out."""

from __future__ import annotations

import time
from typing import Any

import uvicorn


class Listener(uvicorn.Server):
    """A server that closes a connection whose client, for so many seconds, neither sends a request's head nor reads
    what was written. Clients that wait for an answer, or send a body, are none of these."""

    def __init__(self, config: uvicorn.Config, seconds: float):
        super().__init__(config)
        self.seconds = seconds
        self._since: dict[Any, tuple[Any, float]] = {}

    async def on_tick(self, counter: int) -> bool:
        """See `uvicorn.Server`: called ten times a second."""
        if counter % 10 == 0:
            self._close_still(time.monotonic())
        return await super().on_tick(counter)

    def _close_still(self, now: float) -> None:
        found: dict[Any, tuple[Any, float]] = {}
        for one in list(self.server_state.connections):
            mark = _still(one)
            if mark is None:
                continue
            before, since = self._since.get(one, (None, now))
            found[one] = (mark, since if mark == before else now)
            if now - found[one][1] > self.seconds:
                one.transport.abort()
        self._since = found


def _still(connection: Any) -> tuple[Any, int] | None:
    """What stays the same while nothing moves on a connection: its last request, and the bytes that its client has not
    taken; None where it is the server's turn, or the body's."""
    cycle, left = getattr(connection, "cycle", None), connection.transport.get_write_buffer_size()
    waiting = cycle is None or cycle.response_complete
    return (id(cycle), left) if waiting or left else None
