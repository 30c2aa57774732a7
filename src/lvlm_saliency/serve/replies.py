"""Replies in the format of OpenAI's API: whole, or in chunks."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from lvlm_saliency.serve.rows import Delta, Drafted, Finished, Wishes


class Replies:
    """Builds the reply to one request."""

    def __init__(self, model: str, wishes: Wishes, choices: int, kind: str = "chat.completion"):
        self.id, self.created, self.model = f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), model
        self.wishes, self.choices, self.kind = wishes, choices, kind
        self.texts = [""] * choices
        self.tokens: list[list[dict[str, Any]]] = [[] for _ in range(choices)]
        self.ends: dict[int, Finished] = {}

    @property
    def told(self) -> bool:
        """Whether the reply lists single tokens beside the text."""
        return self.wishes.logprobs or self.wishes.traced

    def take(self, event: Delta | Drafted | Finished) -> None:
        """Record an event of one of the texts."""
        if isinstance(event, Delta):
            self.texts[event.index] += event.text
            self.tokens[event.index] += event.tokens
        elif isinstance(event, Finished):
            self.ends[event.index] = event

    @property
    def complete(self) -> bool:
        """Whether every text has ended."""
        return len(self.ends) == self.choices

    @property
    def usage(self) -> dict[str, int]:
        """Numbers of prompt tokens and of generated tokens."""
        read = max((end.prompt_tokens for end in self.ends.values()), default=0)
        written = sum(end.tokens for end in self.ends.values())
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def whole(self) -> dict[str, Any]:
        """The whole reply, for a request that is not streamed."""
        choices = []
        for index, text in enumerate(self.texts):
            end = self.ends[index]
            choice: dict[str, Any] = {
                "index": index,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": self._logprobs(self.tokens[index]),
                "finish_reason": end.finish,
            }
            if end.extra:
                choice["lvlm_saliency"] = end.extra
            choices.append(choice)
        return {**self._head(self.kind), "choices": choices, "usage": self.usage}

    def begin(self, index: int) -> bytes:
        """The first chunk of a text, which holds its role."""
        return self._chunk({"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})

    def chunk(self, event: Delta | Drafted | Finished) -> bytes:
        """An event as a chunk. A guard's draft goes into a field that other clients of OpenAI's API ignore."""
        if isinstance(event, Drafted):
            return self._chunk(
                {"index": event.index, "delta": {}, "finish_reason": None, "lvlm_saliency": {"guard": event.moment}}
            )
        if isinstance(event, Delta):
            choice: dict[str, Any] = {"index": event.index, "delta": {"content": event.text}, "finish_reason": None}
            choice["logprobs"] = self._logprobs(event.tokens)
        else:
            choice = {"index": event.index, "delta": {}, "finish_reason": event.finish, "logprobs": None}
            if event.extra:
                choice["lvlm_saliency"] = event.extra
        return self._chunk(choice)

    def last(self, usage: bool) -> list[bytes]:
        """The chunks that end a stream."""
        ends = [data({**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage})] if usage else []
        return [*ends, b"data: [DONE]\n\n"]

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        return data({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _logprobs(self, tokens: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        return {"content": list(tokens), "refusal": None} if self.told else None


def data(value: Any) -> bytes:
    """A value as a server-sent event."""
    return b"data: " + json.dumps(value, allow_nan=False, separators=(",", ":")).encode() + b"\n\n"
