"""Words of a lower-case caption as NLTK's `word_tokenize` gives them.

What matters for CHAIR: sentence-final full stops, commas, brackets, quotation marks and clitics ('s, n't) are tokens;
words with an inner hyphen or slash stay whole ("dog/cat" never matches); a full stop with no space after it glues two
words ("table.the"; docs/scorers.md, quirk 6); a stop inside a sentence stays with its word.
"""

from __future__ import annotations

import re
from itertools import pairwise

from .sentences import final_stops

# Marks that are always tokens of their own, wherever they stand. A comma or colon before a digit is not one (3,000).
_MARK = re.compile(r"(\.{2,}|--|''|`+|[;@#$%&*?!\[\](){}<>\"«»“”‘’„‒–—―]|[:,](?!\d))")
_CLITIC = "s|d|m|t|n|ll|re|ve"
_OPENING_APOSTROPHE = re.compile(rf"(?<!\w)'(?=\w)(?!(?:{_CLITIC})\b)")
_LONG_CLITIC = re.compile(r"(?<=[^'])(?:'ll|'re|'ve|n't)$")
_SHORT_CLITIC = re.compile(r"(?<=[^'])'[smd]$")
_FUSED = re.compile(r"\b(?:(can)(not)|(gim)(me)|(gon)(na)|(got)(ta)|(lem)(me)|(wan)(na)|(more)('n)|(d)('ye))\b")


def tokenize(caption: str) -> list[str]:
    """Tokens of `caption` after lower-casing it, in order.

    Double quotes come out as in the Penn Treebank, two backticks or two apostrophes; one that begins a line always
    opens.
    """
    text = _set_stops_apart(caption.lower())
    tokens: list[str] = []
    for chunk in text.split():
        before = ""
        for piece in _MARK.split(chunk):
            if piece in {'"', "''"}:
                tokens.append("``" if before[-1:] in {"", "(", "[", "{", "<"} else "''")
            elif _MARK.fullmatch(piece):
                tokens.append(piece)
            elif piece:
                tokens.extend(_split_clitics(piece))
            before += piece
    return tokens


def _set_stops_apart(text: str) -> str:
    bounds = [0, *final_stops(text), len(text)]
    return " ".join(text[start:end] for start, end in pairwise(bounds))


def _split_clitics(piece: str) -> list[str]:
    return [part for word in _OPENING_APOSTROPHE.sub("' ", piece).split() for part in _split_end(word)]


def _split_end(word: str) -> list[str]:
    """`word` without the apostrophe and the clitics at its end, and they."""
    tail: list[str] = []
    if len(word) > 1 and word.endswith("'") and word[-2] != "'":
        word, tail = word[:-1], ["'"]
    for clitic in (_SHORT_CLITIC, _LONG_CLITIC):
        if found := clitic.search(word):
            word, tail = word[: found.start()], [found.group(), *tail]
    return [*_part(word), *tail]


def _part(word: str) -> list[str]:
    """The two words that `word` runs together ("can", "not"), or the word itself."""
    return _FUSED.sub(lambda fused: f" {' '.join(filter(None, fused.groups()))} ", word).split()
