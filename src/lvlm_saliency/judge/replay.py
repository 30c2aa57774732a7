"""Recorded replies in place of a judge: nothing goes to the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.judge.ask import Reply, Request


@dataclass(frozen=True)
class Recorded:
    """Replies by (item, run, turn).

    Attributes:
        replies: the texts.
        source: the file that they are from.
    """

    replies: Mapping[tuple[str, int, int], str]
    source: str

    def __call__(self, request: Request) -> Reply:
        """The recorded reply.

        Raises:
            InputError: there is none for this item: a replay never asks anybody.
        """
        text = self.replies.get((request.item, request.run, request.turn))
        if text is None:
            which = f", run {request.run + 1}" if request.run else ""
            which += f", request {request.turn + 1}" if request.turn else ""
            raise InputError(f"{self.source}: no recorded reply for {request.item}{which}")
        return Reply(text)


@dataclass
class KeptReplies:
    """Our own cache, read without a judge behind it."""

    source: str

    def __call__(self, request: Request) -> Reply:
        """Only ever reached for what the cache lacks."""
        raise InputError(f"{self.source}: no recorded reply for {request.item}")


def in_order(found: Any, items: Sequence[str], source: str | Path) -> Recorded:
    """A list of texts, or of API responses, one for each item by its place.

    Raises:
        InputError: another number of them, or one that is no text.
    """
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise InputError(f"{source}: expected a list of replies, one for each item")
    if len(found) != len(items):
        raise InputError(f"{source}: {len(found)} replies for {len(items)} items")
    return Recorded(
        {
            (item, 0, 0): text_of(reply, f"{source}, reply {n}")
            for n, (item, reply) in enumerate(zip(items, found, strict=True), 1)
        },
        str(source),
    )


def text_of(reply: Any, where: str) -> str:
    """A reply's text, given by itself or as an API response (`choices[0].message.content`).

    Raises:
        InputError: neither.
    """
    if isinstance(reply, Mapping):
        try:
            reply = reply["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise InputError(f"{where}: no text at choices[0].message.content") from None
    if not isinstance(reply, str):
        raise InputError(f"{where}: expected a text, found {type(reply).__name__}")
    return reply
