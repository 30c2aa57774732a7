"""Finds object words in a text: whole words, the longest name first, with negation and hedging."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from lvlm_saliency.guard.vocabulary import Vocabulary

_WORD = re.compile(r"[^\W\d_]+")
_NEGATED = re.compile(r"\b(?:no|not|without|never|neither|nor|isn't|aren't|cannot|can't)\b|n't\b", re.IGNORECASE)
_HEDGED = re.compile(r"\b(?:possibly|perhaps|maybe|probably|likely|seems?|appears?|might|may|could)\b", re.IGNORECASE)
REACH = 4
"""The largest number of words between a negation and the object's name that it applies to."""


@dataclass(frozen=True)
class Mention:
    """An object word.

    Attributes:
        start, end: it is `text[start:end]`.
        name: the object's canonical name.
        complete: further text cannot change it.
        negated: the text says that the object is not there.
        hedged: the text says that the object may be there.
    """

    start: int
    end: int
    name: str
    complete: bool
    negated: bool
    hedged: bool


def mentions(text: str, vocabulary: Vocabulary, start: int = 0, *, final: bool = False) -> list[Mention]:
    """The object words of `text[start:]`, in order.

    Args:
        final: whether the text is finished. If not, a word that reaches its end is not complete, and neither is a name
            that the next word could make a longer one.
    """
    words = list(_WORD.finditer(text, start))
    found, at = [], 0
    while at < len(words):
        count, name = _longest(text, words, at, vocabulary)
        if name is not None:
            first, last = words[at], words[at + count - 1]
            negated, hedged = _spoken(text, words[max(0, at - REACH) : at], first.start())
            complete = final or _complete(text, words, at, count, vocabulary)
            found.append(Mention(first.start(), last.end(), name, complete, negated, hedged))
        at += count
    return found


def _longest(text: str, words: list[re.Match], at: int, vocabulary: Vocabulary) -> tuple[int, str | None]:
    """The number of words of the longest name from `at` on (1 where there is none), and the object that it names."""
    if words[at].group().lower() not in vocabulary.firsts:
        return 1, None
    for count in range(min(vocabulary.longest, len(words) - at), 0, -1):
        if count > 1 and not _joined(text, words[at : at + count]):
            continue
        surface = " ".join(word.group().lower() for word in words[at : at + count])
        if surface in vocabulary.surfaces:
            return count, vocabulary.surfaces[surface]
    return 1, None


def _joined(text: str, words: list[re.Match]) -> bool:
    """Whether these words are separated by single blanks or hyphens only."""
    return all(text[a.end() : b.start()] in (" ", "-") for a, b in pairwise(words))


def _complete(text: str, words: list[re.Match], at: int, count: int, vocabulary: Vocabulary) -> bool:
    last, behind = words[at + count - 1], words[at + count : at + count + 1]
    if last.end() == len(text):
        return False
    if behind and behind[0].end() < len(text):
        return True
    # The next word is not there, or not yet all of it: it might make a longer name of this one.
    gap = text[last.end() : behind[0].start() if behind else len(text)]
    surface = " ".join(word.group().lower() for word in words[at : at + count])
    if gap not in (" ", "-") or surface not in vocabulary.beginnings:
        return True
    part = behind[0].group().lower() if behind else ""
    return not any(other.startswith(f"{surface} {part}") for other in vocabulary.surfaces)


def _spoken(text: str, before: list[re.Match], end: int) -> tuple[bool, bool]:
    """Whether the few words before it, in the same clause, negate or hedge the object."""
    if not before:
        return False, False
    near = re.split(r"[.!?;:,\n]", text[before[0].start() : end])[-1]
    return bool(_NEGATED.search(near)), bool(_HEDGED.search(near))
