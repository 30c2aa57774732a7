"""Texts with labelled object words: where they stand, correct or hallucinated, first or repeated mention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lvlm_saliency.tracing.pieces import overlapping

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Span:
    """An object word, `text[start:end]`.

    Attributes:
        hallucinated: what it names is not in the picture.
        name: the object's canonical name.
        first: the text names that object for the first time here.
    """

    start: int
    end: int
    hallucinated: bool
    name: str
    first: bool


@dataclass(frozen=True)
class LabelledText:
    """A text about a picture, as tokens, with its labelled spans.

    image names the picture: texts of one picture are one group for every interval and every split.

    Attributes:
        token_ids: the generated tokens, an end-of-text token included where there was one.
        pieces: the text of each token, special tokens empty; joined they are `text`.
    """

    image: str
    prompt: str
    text: str
    token_ids: tuple[int, ...]
    pieces: tuple[str, ...]
    spans: tuple[Span, ...]
    picture: Callable[[], Image] = field(repr=False, compare=False)

    def span_tokens(self) -> list[list[int]]:
        """For every span the numbers of the tokens that share a character with it, ascending."""
        return overlapping(self.pieces, self.spans)


def blanked(pieces: Sequence[str], answers: Sequence[tuple[int, int]] | None) -> list[str]:
    """The pieces with blanks in place of what is no answer (thinking and its marks), so that all places stay.

    Args:
        pieces: the text of each token.
        answers: tokens that answer, as (first, one past the last); None for all.
    """
    if answers is None:
        return list(pieces)
    inside = {at for first, end in answers for at in range(first, end)}
    return [piece if at in inside else " " * len(piece) for at, piece in enumerate(pieces)]


def first_mentions(names: Sequence[str]) -> list[bool]:
    """For each name in reading order, whether it is there for the first time."""
    return [name not in names[:at] for at, name in enumerate(names)]
