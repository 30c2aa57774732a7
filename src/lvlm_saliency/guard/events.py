"""The events of `GenerateOutput.guard`: what a guard did to a text, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Action = Literal["kept", "flagged", "rewritten", "dropped", "unchecked"]


@dataclass(frozen=True)
class Try:
    """A sentence, or the beginning of one, that was generated and rolled back.

    Attributes:
        text: the text up to the word that caused it.
        word: that word.
        object: its canonical name.
        risk: its final risk, 0 to 1.
        why: "absent" (the object). In a rewritten sentence also "again" (the object is introduced a second time),
            "number", "colour", "place" or "relation" (the model does not confirm the phrase), or "no sentence" (the
            text has not the form of a sentence).
    """

    text: str
    word: str
    object: str
    risk: float
    why: str = "absent"


@dataclass(frozen=True)
class Event:
    """One object word, or one sentence that was rolled back.

    Attributes:
        word: the object word, or the first word that caused a rollback.
        object: its canonical name.
        span: the half-open range of its token positions in the answer; None where nothing of it is in the answer.
        risk: its final risk, 0 to 1; None where it was not judged.
        action: "kept" (the word stands, its risk is at most the threshold), "flagged" (it stands, its risk is above
            it), "rewritten" (a sentence was rolled back and replaced by the one at `span`), "dropped" (rolled back, and
            nothing replaces it) or "unchecked" (the limit on new tokens cut the word off).
        tries: the texts that were rolled back, in order.
        margin: log-odds of no over yes in the model's answer; None where it was not asked.
        hedged: the text says that the object may be there.
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
    """What just happened to a text that is being generated.

    Attributes:
        kind: "draft" (`text` is the current sentence, which may still be rolled back), "taken back" (`text`, up to
            `word`, is rolled back) or "settled" (`text` is final).
        word, object, risk, why: of a rollback, as in `Try`.
        action: of settled text: "kept", "flagged" (it holds a word whose risk is above the threshold), "rewritten" (it
            replaces what was rolled back), "dropped" (nothing replaces it; `text` may be empty) or "thinking" (of a
            model that thinks before it answers; the guard does not change it).
    """

    kind: Literal["draft", "taken back", "settled"]
    text: str
    word: str = ""
    object: str = ""
    risk: float | None = None
    why: str = ""
    action: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without empty fields."""
        return {
            name: value for name, value in asdict(self).items() if name in ("kind", "text") or value not in ("", None)
        }


class Watcher:
    """A streamer that also sees how guarded texts come about. Pass a subclass to `generate(streamer=...)`."""

    def watch(self, sample: int, moment: Moment) -> None:
        """Something happened to the text of a sample (its row in the batch)."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it does with {moment.kind!r}")


@dataclass
class Tally:
    """Counts over all texts of a generation.

    Attributes:
        questions: questions asked.
        question_passes: forward passes that they took.
        taken_back: sentences rolled back.
        ended: texts that ended early.
        lifted: bans lifted because no other token was left.
        uncalibrated: the guard had no calibration.
        more: further counts.
    """

    questions: int = 0
    question_passes: int = 0
    taken_back: int = 0
    ended: int = 0
    lifted: int = 0
    uncalibrated: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


class Events(list):
    """The events of one text, in order.

    Attributes:
        judged: every word that was judged, including those in sentences that were rolled back, and whether the guard
            acted on it.
    """

    def __init__(self, events=(), judged=()):
        super().__init__(events)
        self.judged = list(judged)
