"""A file of replies, one line each, written as they come: a stopped judgement continues where it stopped."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import json_lines
from lvlm_saliency.judge.ask import Judge, Reply, Request


@dataclass
class Cache:
    """A judge's replies on disk, in front of the judge itself.

    Attributes:
        path: the file of JSON lines; one file holds one judge model's replies.
        model: the name of the judge.
        judge: who is asked for what the file lacks.
        reused: how many replies came from the file.
    """

    path: Path
    model: str
    judge: Judge
    reused: int = 0
    _known: dict[str, Reply] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        rows = json_lines.read_lines(self.path, _fault)
        strangers = {row["model"] for row in rows} - {self.model}
        if strangers:
            raise InputError(
                f"{self.path} holds replies of {sorted(strangers)[0]}, and the judge is {self.model}: judges are not "
                "mixed; give another file with --cache"
            )
        json_lines.mend(self.path)
        self._known = {row["key"]: Reply(row["reply"], row["served"], row.get("usage")) for row in rows}

    def __call__(self, request: Request) -> Reply:
        """The kept reply, else the judge's, which is kept. UnjudgedError as the judge."""
        key = request.key(self.model)
        if key in self._known:
            self.reused += 1
            return self._known[key]
        reply = self.judge(request)
        row = {
            "key": key,
            "model": self.model,
            "item": request.item,
            "run": request.run,
            "turn": request.turn,
            "served": reply.served,
            "reply": reply.text,
            "usage": reply.usage,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        json_lines.append(self.path, [row])
        self._known[key] = reply
        return reply


def _fault(row: dict[str, Any]) -> str:
    """What is wrong with a kept row, nothing when it can be used."""
    lacking = [name for name in ("key", "model", "served", "reply") if not isinstance(row.get(name), str)]
    return f"{lacking[0]} is no text" if lacking else ""


def is_cache(path: Path) -> bool:
    """Whether the file begins as one of ours."""
    with path.open("rb") as file:
        return file.read(8).startswith(b'{"key"')
