"""Finds what a sentence says of an object: its number, colour, place, and its position relative to another object.

To a yes-or-no question about an attribute ("Is there a red cup?"), models that lean towards yes say yes if there is any
cup. So the question is an open one ("What color is the cup?"), and the value in the sentence is compared with its
alternatives as the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from lvlm_saliency.guard.vocabulary import plural
from lvlm_saliency.guard.words import Mention

COLOURS = tuple(["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray"])
NUMBERS = tuple(["one", "two", "three", "four", "five", "six"])
PLACES = (
    *("at the top", "at the bottom", "on the left", "on the right", "in the middle"),
    *(f"at the {row} {side}" for row, side in product(("top", "bottom"), ("left", "right"))),
)
_SAME = {"grey": "gray", "upper": "top", "lower": "bottom", "center": "middle", "centre": "middle"}
_PLACE = re.compile(
    r"\b(?:at|on|in|to|near)\s+the\s+(?:far\s+|very\s+)?((?:top|bottom|upper|lower|left|right|middle|cent(?:er|re))"
    r"(?:[-\s]+(?:left|right|cent(?:er|re)|middle))?)\b(?:\s+(?:side|corner|part|edge|half))?"
    r"(?!\s+of\s+(?!the\s+(?:image|picture|photo|scene|frame)\b))",
    re.IGNORECASE,
)
_RELATION = re.compile(
    r"\b(?:to\s+the\s+(?:left|right)\s+of|next\s+to|beside|near|above|below|under|underneath|behind|in\s+front\s+of|"
    r"on\s+top\s+of|over|inside|between)\s+(?:the|an?)\s+(?:[^\W\d_]+\s+){0,2}",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    rf"\b(?:(?P<number>an?|{'|'.join(NUMBERS)})\s+)?(?:(?P<colour>{'|'.join(COLOURS)}|grey)\s+)?(?:[^\W\d_]+\s+)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Said:
    """A phrase that states an attribute of an object.

    Attributes:
        kind: "colour", "number", "place" or "relation".
        name: the object's canonical name.
        start, end: the phrase is `text[start:end]`.
        value: what it states, one of `choices`.
        question: an open question about it; empty for a relation, for which no question was found that models answer.
        stem: how the answer to the question begins.
        choices: the value and its alternatives.
    """

    kind: str
    name: str
    start: int
    end: int
    value: str
    question: str = ""
    stem: str = ""
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Under which the model's answer is kept: a text asks once, however often it states the same."""
        return self.question or f"{self.kind} {self.name}", self.value

    @property
    def answers(self) -> tuple[str, ...]:
        """The full answer for each of the choices."""
        return tuple(f"{self.stem} {one}." if self.stem else f"{one.capitalize()}." for one in self.choices)


def said(text: str, mentions: Sequence[Mention], start: int, end: int) -> list[Said]:
    """All attributes that the sentence `text[start:end]` states of its objects, in the order of the words."""
    here = [one for one in mentions if start <= one.start < end]
    anchors, found = set(), []
    for match in _RELATION.finditer(text, start, end):
        anchor = next((one for one in here if one.start == match.end()), None)
        subject = None if anchor is None else _subject([one for one in here if one is not anchor], match.start())
        if anchor is not None:
            anchors.add(anchor.start)
        if subject is not None and anchor is not None:
            found.append(Said("relation", subject.name, match.start(), anchor.end, match.group().strip().lower()))
    own = [one for one in here if not one.negated and one.start not in anchors]
    for one in own:
        found += _before(text, one, max(start, one.start - 60))
    for match in _PLACE.finditer(text, start, end):
        subject = _subject(own, match.start())
        words = [_SAME.get(word, word) for word in re.split(r"[-\s]+", match.group(1).lower())]
        value = next((place for place in PLACES if place.split()[2:] == words), None)
        if subject is not None and value is not None:
            question = f"Where is the {subject.name}?"
            found.append(Said("place", subject.name, *match.span(), value, question, "It is", PLACES))
    return sorted(found, key=lambda one: (one.start, one.end))


def _before(text: str, mention: Mention, start: int) -> list[Said]:
    """The number and the colour before the noun."""
    match = _BEFORE.search(text[start : mention.start])
    found: list[Said] = []
    if match is None:
        return found
    name = mention.name
    if match["number"]:
        value = {"a": "one", "an": "one"}.get(match["number"].lower(), match["number"].lower())
        place = (start + match.start("number"), start + match.end("number"))
        found.append(Said("number", name, *place, value, f"How many {plural(name)} are there?", "", NUMBERS))
    if match["colour"]:
        value = _SAME.get(match["colour"].lower(), match["colour"].lower())
        place = (start + match.start("colour"), start + match.end("colour"))
        found.append(Said("colour", name, *place, value, f"What color is the {name}?", "It is", COLOURS))
    return found


def _subject(mentions: Sequence[Mention], position: int) -> Mention | None:
    """The object that a phrase at this position is about: the last one before it in its sentence, else the first."""
    before = [one for one in mentions if one.start < position]
    return before[-1] if before else next(iter(mentions), None)
