"""The events of `GenerateOutput.guard`: what a guard did to a text, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Action = Literal["kept", "flagged", "rewritten", "dropped", "unchecked"]


@dataclass(frozen=True)
class Try:
    """A sentence, or the beginning of one, that was written and rolled back.

    Attributes:
        text: up to the word that caused it.
        word: that word.
        object: its canonical name.
        risk: its final risk, 0 to 1.
        why: "absent"; in a sentence that was rewritten also "again" for an object that was introduced a second time,
            "number", "colour", "place" or "relation" for a phrase that the model, asked, does not confirm, and "no
            sentence" for a text that is none.
    """

    text: str
    word: str
    object: str
    risk: float
    why: str = "absent"


@dataclass(frozen=True)
class Event:
    """One object word, or one sentence that was taken back.

    action: "kept" (an object word that stands, its risk at most the threshold), "flagged" (it stands, its risk above
    it), "rewritten" (a sentence that was taken back and replaced by the one at `span`), "dropped" (taken back, with
    nothing in its place), "unchecked" (an object word that the limit on new tokens cut off). span: the token positions
    in the answer, from the first to behind the last; None where nothing of it stands there. word, object, risk, margin
    (log-odds of no over yes, None where nobody asked): of the word, or of the first word that was taken back. tries:
    what was written and taken back, in order. hedged: the text says that the object may be there.
    """

    word: str
    object: str
    span: tuple[int, int] | None
    risk: float | None
    action: Action
    tries: tuple[Try, ...] = ()
    margin: float | None = None
    hedged: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As plain dictionaries, lists and numbers."""
        found = asdict(self)
        return {**found, "span": None if self.span is None else list(self.span), "tries": list(found["tries"])}


@dataclass(frozen=True)
class Moment:
    """What just happened to a text that is being written.

    kind: "draft" (`text` is the sentence in question as it stands now; it may still be taken back), "taken back"
    (`text`, up to `word`, was written and is taken back; the other fields as of `Try`), "settled" (`text` stands and
    never changes). action: of what is settled: "kept", "flagged" (it holds a word whose risk is above the threshold),
    "rewritten" (it replaces what was taken back), "dropped" (nothing replaces it; `text` may be empty) or "thinking"
    (of a model that thinks before it answers: the guard leaves that alone).
    """

    kind: Literal["draft", "taken back", "settled"]
    text: str
    word: str = ""
    object: str = ""
    risk: float | None = None
    why: str = ""
    action: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without what is empty."""
        return {
            name: value for name, value in asdict(self).items() if name in ("kind", "text") or value not in ("", None)
        }


class Watcher:
    """A streamer that is also shown how guarded texts come about: a subclass given to `generate(streamer=...)`."""

    def watch(self, sample: int, moment: Moment) -> None:
        """Something happened to the text of this sample (its row in the batch)."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it does with {moment.kind!r}")


@dataclass
class Tally:
    """What the guard did over all texts of a generation, for its costs: questions asked, the passes that they took,
    sentences taken back, texts ended early, bans that had to be lifted because nothing else was left."""

    questions: int = 0
    question_passes: int = 0
    taken_back: int = 0
    ended: int = 0
    lifted: int = 0
    uncalibrated: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


class Events(list):
    """The events of one text, in order. judged: every word that was judged, those in sentences that were taken back
    among them, and whether it was acted on."""

    def __init__(self, events=(), judged=()):
        super().__init__(events)
        self.judged = list(judged)
