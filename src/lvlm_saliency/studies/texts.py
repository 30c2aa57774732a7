"""Texts whose object words are labelled: correct or hallucinated, where, and for the first time or again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lvlm_saliency.tracing.result import token_texts

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Span:
    """An object word, `text[start:end]`.

    hallucinated: what it names is not in the picture; name: the object's canonical name; first: the text names that
    object for the first time here.
    """

    start: int
    end: int
    hallucinated: bool
    name: str
    first: bool


@dataclass(frozen=True)
class LabelledText:
    """A text about a picture, as tokens, with its labelled spans.

    image names the picture: texts of one picture are one group for every interval and every split. token_ids: the
    generated tokens, an end-of-text token included where there was one. pieces: the text of each token, special tokens
    empty; joined they are `text`.
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
        bounds, end = [], 0
        for piece in self.pieces:
            bounds.append((end, end := end + len(piece)))
        return [
            [t for t, (start, stop) in enumerate(bounds) if start < span.end and stop > span.start and start < stop]
            for span in self.spans
        ]


def text_pieces(tokenizer, token_ids: Sequence[int]) -> list[str]:
    """The text of each token; special tokens are empty."""
    special = set(tokenizer.all_special_ids)
    pieces = token_texts(tokenizer, list(token_ids))
    return ["" if token in special else piece for token, piece in zip(token_ids, pieces, strict=True)]


def first_mentions(names: Sequence[str]) -> list[bool]:
    """For each name in reading order, whether it is there for the first time."""
    return [name not in names[:at] for at, name in enumerate(names)]
