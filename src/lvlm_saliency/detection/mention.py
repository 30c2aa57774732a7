"""The words that detectors judge: where they stand in an answer, and what they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mention:
    """A word of an answer.

    Attributes:
        start, end: its tokens in the answer, `[start, end)`, counted from 0.
        name: the canonical name of the object that it names ("couch" for "sofas"); the word itself where none is known.
        word: the word as it is written.
        sample: the row of the batch, for scores from a trace of several texts.
        first: whether the text names the object here for the first time.
        occurrence: how often the text has named the object up to here, this mention counted.
        hallucinated: whether the object is not in the picture; None where that is not known.
    """

    start: int
    end: int
    name: str = ""
    word: str = ""
    sample: int = 0
    first: bool = True
    occurrence: int = 1
    hallucinated: bool | None = None

    @property
    def tokens(self) -> range:
        """The numbers of its tokens."""
        return range(self.start, self.end)


def object_mentions(text: Any, sample: int = 0) -> list[Mention]:
    """The labelled object words of a `LabelledText`, in reading order; spans without a token are left out."""
    found: list[Mention] = []
    named: dict[str, int] = {}
    for span, tokens in zip(text.spans, text.span_tokens(), strict=True):
        named[span.name] = named.get(span.name, 0) + 1
        if tokens:
            word = text.text[span.start : span.end]
            place = (tokens[0], tokens[-1] + 1, span.name, word, sample)
            found.append(Mention(*place, span.first, named[span.name], span.hallucinated))
    return found


def every_word(pieces: Sequence[str], sample: int = 0) -> list[Mention]:
    """Every word of an answer as a mention. pieces: the text of each token, special tokens empty.

    A word is a run of letters, digits, hyphens and apostrophes; a token that holds parts of two words goes with the
    first of them.
    """
    found: list[Mention] = []
    named: dict[str, int] = {}
    start, word = 0, ""

    def close(end: int) -> None:
        nonlocal word
        if word:
            name = word.lower()
            named[name] = named.get(name, 0) + 1
            found.append(Mention(start, end, name, word, sample, named[name] == 1, named[name]))
        word = ""

    for at, piece in enumerate(pieces):
        for character in piece:
            inside = character.isalnum() or (character in "-'’" and bool(word))
            if inside and not word:
                start = at
            if inside:
                word += character
            elif word:
                close(at + 1 if piece[0].isalnum() and start <= at and piece[: piece.index(character)] else at)
    close(len(pieces))
    return found
