"""`Row`: one text that is to be written, or was brought, on its way through the server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lvlm_saliency.chat import Query
from lvlm_saliency.tracing.result import token_text

UNTRACEABLE = ("eah", "memvr", "tame")
"""They look at the prompt as a whole, which a trace runs in pieces."""


@dataclass(frozen=True)
class Way:
    """How texts are decoded; those of one way share a batch.

    methods: as the loop takes them, without seeds of their own; alone: a loop over one text at a time; live: tokens
    are final when they are chosen; settles: they are final sentence by sentence, as under a guard; settings: keywords
    of `generate`.
    """

    methods: tuple[Any, ...] = ()
    alone: bool = False
    live: bool = True
    settles: bool = False
    sampled: bool = False
    temperature: float = 1.0
    top_p: float = 1.0

    @property
    def unread(self) -> list[str]:
        """The methods under which a text cannot be traced: it is read as the model itself reads it."""
        return [method.name for method in self.methods if method.name in UNTRACEABLE]

    @property
    def read(self) -> list[Any]:
        """The methods under which a text is traced."""
        return [method for method in self.methods if method.name not in UNTRACEABLE]

    @property
    def settings(self) -> dict[str, Any]:
        """Keywords of `generate`."""
        if not self.sampled:
            return {"do_sample": False}
        return {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p, "top_k": 0}


@dataclass(frozen=True)
class Wishes:
    """What is to be said of each token. top: how many alternatives, None for no log-probabilities; drafts: whether a
    guard's drafts are shown as well."""

    logprobs: bool = False
    top: int = 0
    explain: bool = False
    risk: bool = False
    detectors: tuple[str, ...] = ()
    drafts: bool = False

    @property
    def traced(self) -> bool:
        """Whether it takes a trace."""
        return self.explain or self.risk or bool(self.detectors)


@dataclass(frozen=True)
class Delta:
    """Text that is final, with what is said of its tokens."""

    index: int
    text: str
    tokens: list[dict[str, Any]]


@dataclass(frozen=True)
class Drafted:
    """What a guard is doing to what is not final yet, as `guard.events.Moment` has it."""

    index: int
    moment: dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """The end of a text. finish: "stop" or "length"; tokens: how many were written; extra: what stands beside it."""

    index: int
    finish: str
    prompt_tokens: int
    tokens: int
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """A text that was given up."""

    index: int
    error: BaseException


def sample_id(seed: int, index: int) -> int:
    """The number under which a text's draws are made: a function of its request's seed and its place in it alone."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{index}".encode(), digest_size=8).digest(), "big") >> 1


@dataclass(eq=False)
class Row:
    """One text. tell: takes its events, from any thread; brought: the text to explain, where none is to be written."""

    query: Query
    way: Way
    wishes: Wishes
    index: int
    sample: int
    max_tokens: int
    tell: Callable[[Any], None]
    stop: Sequence[str] = ()
    streamed: bool = False
    brought: str | None = None
    cancelled: bool = False
    prompt_tokens: int = 0

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew; nothing of the text has been told."""
        self.ids: list[int] = []
        self.pieces: list[str] = []
        self.odds: list[dict[str, Any] | None] = []
        self.notes: list[dict[str, Any]] = []
        self.text = ""
        self.finish: str | None = None
        self._told = 0
        self._end: int | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """Rows with the same key may be worked on together."""
        return self.way, bool(self.query.pictures), self.wishes.traced, self.brought is not None

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be written."""
        return self.finish is not None or self.cancelled

    def feed(self, token: int, tokenizer: Any, ends: frozenset[int], odds: dict[str, Any] | None = None) -> None:
        """The next token of the text."""
        if self.ended:
            return
        self.ids.append(token)
        hidden = token in ends or token in tokenizer.all_special_ids
        piece = "" if hidden else token_text(tokenizer, self.ids[-17:])
        piece = piece if self.text else piece.lstrip()
        before = len(self.text)
        self.pieces.append(piece)
        self.odds.append(odds)
        self.text += piece
        found = [at for stop in self.stop if (at := self.text.find(stop, max(0, before - len(stop)))) >= 0]
        if found:
            self._end, self.finish = min(found), "stop"
        elif token in ends:
            self.finish = "stop"
        elif len(self.ids) >= self.max_tokens:
            self.finish = "length"

    @property
    def untold(self) -> bool:
        """Whether its client has heard nothing of it yet."""
        return not self._told

    @property
    def _safe(self) -> int:
        """Characters that no stop string can take back."""
        if self._end is not None:
            return self._end
        if self.ended:
            return len(self.text)
        held = 0
        for stop in self.stop:
            for length in range(min(len(stop) - 1, len(self.text)), held, -1):
                if self.text.endswith(stop[:length]):
                    held = length
                    break
        return len(self.text) - held

    def release(self) -> None:
        """Tell the tokens whose text is final and of which everything is known that is to be said."""
        ready = len(self.notes) if self.wishes.traced else len(self.ids)
        safe, end = self._safe, sum(map(len, self.pieces[: self._told]))
        text, tokens = "", []
        while self._told < min(ready, len(self.ids)):
            piece = self.pieces[self._told]
            cut = self._end is not None and end + len(piece) > safe
            if end + len(piece) > safe and not cut:
                break
            shown = piece[: max(0, safe - end)] if cut else piece
            end += len(piece)
            if shown or not self._hidden(self._told):
                text += shown
                tokens.append(self._token(self._told, shown))
            self._told += 1
        if text or tokens:
            self.tell(Delta(self.index, text, tokens))

    def _hidden(self, at: int) -> bool:
        """Whether a token is none of the text: behind a stop string, or one that ends it."""
        behind = self._end is not None and sum(map(len, self.pieces[:at])) >= self._end
        return behind or (at == len(self.ids) - 1 and self.finish == "stop" and not self.pieces[at])

    def _token(self, at: int, shown: str) -> dict[str, Any]:
        told: dict[str, Any] = {"token": shown, "bytes": list(shown.encode()), "logprob": None, "top_logprobs": []}
        told |= self.odds[at] or {}
        if self.wishes.traced:
            told["lvlm_saliency"] = self.notes[at]
            if told["logprob"] is None:
                told["logprob"] = self.notes[at].get("logprob")
        return told

    def done(self, **extra: Any) -> None:
        """Tell what is left, and the end."""
        self.release()
        self.tell(Finished(self.index, self.finish or "stop", self.prompt_tokens, len(self.ids), extra))

    def fail(self, error: BaseException) -> None:
        """Tell that it was given up."""
        self.finish = self.finish or "stop"
        self.tell(Failed(self.index, error))
