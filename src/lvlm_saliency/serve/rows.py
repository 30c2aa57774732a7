"""`Row`: one text on its way through the server, to be generated or supplied by the client."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lvlm_saliency.chat import Query
from lvlm_saliency.tracing.result import token_text

UNTRACEABLE = ("eah", "memvr", "tame")
"""Methods that need the whole prompt in one forward pass; a trace runs it in pieces."""


@dataclass(frozen=True)
class Way:
    """How texts are decoded. Texts with the same `Way` share a batch.

    Attributes:
        methods: methods for `ls.generate`, without seeds of their own.
        alone: decode one text at a time (a method with a loop of its own).
        live: a token is final as soon as it is chosen.
        settles: tokens become final sentence by sentence, as under a guard.
        sampled: draw tokens rather than take the most probable one.
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
        """Names of active methods that a trace cannot run under: the text is traced without them."""
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
    """What a client wants to be told of each token.

    Attributes:
        logprobs: log-probabilities; `top` alternatives with each.
        explain: the saliency of each token.
        risk: the calibrated risk of each word.
        detectors: names of hallucination scores.
        drafts: a guard's drafts, as they are written.
    """

    logprobs: bool = False
    top: int = 0
    explain: bool = False
    risk: bool = False
    detectors: tuple[str, ...] = ()
    drafts: bool = False

    @property
    def traced(self) -> bool:
        """Whether any of this needs a trace."""
        return self.explain or self.risk or bool(self.detectors)


@dataclass(frozen=True)
class Delta:
    """An event: text that is final, with the notes of its tokens."""

    index: int
    text: str
    tokens: list[dict[str, Any]]


@dataclass(frozen=True)
class Drafted:
    """An event: what a guard does to text that is not final yet (see `guard.events.Moment`)."""

    index: int
    moment: dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """An event: the end of a text.

    Attributes:
        finish: "stop" or "length".
        prompt_tokens, tokens: numbers of tokens read and generated.
        extra: further fields of the reply, such as the name of the report.
    """

    index: int
    finish: str
    prompt_tokens: int
    tokens: int
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """An event: a text could not be finished."""

    index: int
    error: BaseException


def sample_id(seed: int, index: int) -> int:
    """The sample number of a text for random draws: a function of the request's seed and the text's index alone."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{index}".encode(), digest_size=8).digest(), "big") >> 1


@dataclass(eq=False)
class Row:
    """One text.

    Attributes:
        index: its number among the texts of its request.
        sample: its sample number for random draws (see `sample_id`).
        tell: takes the events of the text; may be called from any thread.
        brought: the text that the client supplies; None: it is to be generated.
    """

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
        """Start again. Allowed as long as no event of the text has been sent."""
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
        """Rows with the same key may share a batch."""
        return self.way, bool(self.query.pictures), self.wishes.traced, self.brought is not None

    @property
    def ended(self) -> bool:
        """Whether the text is complete."""
        return self.finish is not None or self.cancelled

    def feed(self, token: int, tokenizer: Any, ends: frozenset[int], odds: dict[str, Any] | None = None) -> None:
        """Append the next token of the text."""
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
        """Whether no event of the text has been sent yet."""
        return not self._told

    @property
    def _safe(self) -> int:
        """The number of leading characters that no stop string can remove any more."""
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
        """Send the tokens whose text is final and whose notes are complete."""
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
        """Whether a token is not part of the text: it follows a stop string, or is an end-of-sequence token."""
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
        """Send the rest of the text and its end."""
        self.release()
        self.tell(Finished(self.index, self.finish or "stop", self.prompt_tokens, len(self.ids), extra))

    def fail(self, error: BaseException) -> None:
        """Send that the text could not be finished."""
        self.finish = self.finish or "stop"
        self.tell(Failed(self.index, error))
