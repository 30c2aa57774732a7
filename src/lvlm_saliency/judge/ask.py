"""A request to a judge, and its reply."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lvlm_saliency.errors import LvlmSaliencyError

Message = dict[str, str]


class UnjudgedError(LvlmSaliencyError):
    """An item that the judge gave no reply for: it is counted, and never scored."""


@dataclass(frozen=True)
class Request:
    """What the judge is sent.

    Attributes:
        item: the name of the judged item, for messages and for recorded replies.
        messages: the chat messages, `{"role", "content"}` each.
        temperature: of the judge; None leaves the field out.
        max_tokens: the longest reply; None leaves the field out.
        run: 0, 1, ...: keeps repeated judgements of one item apart.
        turn: 0, 1, ...: the number of this request among those of its item and run.
    """

    item: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    run: int = 0
    turn: int = 0

    def body(self, model: str) -> dict[str, Any]:
        """The JSON object that goes to `model`."""
        optional = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        chosen = {name: value for name, value in optional.items() if value is not None}
        return {"model": model, "messages": list(self.messages), **chosen}

    def key(self, model: str) -> str:
        """SHA-256 of the canonical JSON of everything that decides the reply, and of the run."""
        return sha256(json.dumps({**self.body(model), "run": self.run}, sort_keys=True, ensure_ascii=False))


@dataclass(frozen=True)
class Reply:
    """A reply, word for word. served: the model name that the server returned, "" where it is not known."""

    text: str
    served: str = ""
    usage: dict[str, Any] | None = None


class Judge(Protocol):
    """Whoever answers requests: an endpoint, a cache in front of one, or recorded replies."""

    def __call__(self, request: Request) -> Reply:
        """The reply. UnjudgedError where there is none."""


def sha256(text: str) -> str:
    """Hex digest of the text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def user_message(request: Request) -> str:
    """The text of the (last) user message, whose hash proves a wording."""
    said: Sequence[str] = [message["content"] for message in request.messages if message["role"] == "user"]
    return said[-1]
