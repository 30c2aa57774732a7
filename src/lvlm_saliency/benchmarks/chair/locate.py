"""Where in a caption its mentions stand: character spans for CHAIR's words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from .mentions import counted, normaliser
from .synonyms import Synonyms, merge_two_words
from .tokenizer import tokenize

_QUOTES = ("``", "''")


@dataclass(frozen=True)
class Located:
    """A mention, `caption[start:end]`; `word` as CHAIR normalises it and `node` as in `Mentions`."""

    start: int
    end: int
    word: str
    node: str


def locate(caption: str, synonyms: Synonyms, variant: str = "official") -> list[Located]:
    """The mentions of `find_mentions`, in its order, with their characters; a two-word name is one span.

    The words are those that the official code counts. Its positions are not used: they are off after a dropped seat
    (docs/scorers.md, quirk 4), and the spans here are of the words themselves.
    Raises `SettingError` for an unknown variant, `InputError` when the lemmatizer's data is not installed.
    """
    tokens = tokenize(caption)
    places = _places(caption, tokens)
    words, first = merge_two_words(normaliser(variant)(tokens))
    last = [*(at - 1 for at in first[1:]), len(tokens) - 1]
    return [
        Located(places[first[at]][0], places[last[at]][1], words[at], synonyms.node_of[words[at]])
        for at in counted(words)
        if words[at] in synonyms.node_of
    ]


def _places(caption: str, tokens: list[str]) -> list[tuple[int, int]]:
    """The characters of each token. A token is the caption's own next characters in lower case, blanks aside; only a
    double quote is written in another way."""
    lowered = caption.lower()
    origin = _origins(caption)
    places, at = [], 0
    for token in tokens:
        while lowered[at].isspace():
            at += 1
        taken = 1 if token in _QUOTES and lowered[at] == '"' else len(token)
        places.append((origin[at], origin[at + taken - 1] + 1))
        at += taken
    return places


def _origins(caption: str) -> list[int]:
    """For each character of `caption.lower()`, which may be longer, the number of the one that it comes from."""
    ends = list(accumulate(len(letter.lower()) for letter in caption))
    return [
        number for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)) for _ in range(end - start)
    ]
