"""The server's log: one JSON object per line on stderr, without pictures, and without texts unless asked for."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, TextIO

NAME = "lvlm_saliency.serve"


class JsonLines(logging.Formatter):
    """Formats a record as a JSON object, which includes the items of `extra={"told": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, Any] = {"time": f"{moment}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        entry |= {"event": record.getMessage(), **getattr(record, "told", {})}
        if record.exc_info and record.exc_info[0] is not None:
            entry["error"] = record.exc_info[0].__name__
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=True, default=str)


class _Stderr(logging.StreamHandler):
    """A handler that looks `sys.stderr` up at each record, so that a redirected stderr is respected."""

    @property
    def stream(self) -> TextIO:
        """The current stderr."""
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Ignored: the stream is always the current stderr."""


def begin_log(level: int = logging.INFO) -> logging.Logger:
    """Set up the server's logger, which writes to stderr."""
    log = logging.getLogger(NAME)
    log.setLevel(level)
    log.propagate = False
    if not log.handlers:
        handler = _Stderr()
        handler.setFormatter(JsonLines())
        log.addHandler(handler)
    return log
