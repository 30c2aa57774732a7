"""What a caption states, one statement at a time, judged by the ground truth: objects, colours, numbers and places.

CHAIR asks only whether a named object is there. A caption also says what colour it has, how many there are, where they
are and how they lie to each other; this module reads all of that. `label_claims` puts together what belongs to one
noun phrase: "a red cup on the left" is one claim of four statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

from lvlm_saliency.scenes.captions import lies
from lvlm_saliency.scenes.classes import COLOURS, PLURALS, SINGULAR
from lvlm_saliency.scenes.grammar import NUMBERS, PLACES, RELATIONS
from lvlm_saliency.scenes.labels import label_mentions
from lvlm_saliency.scenes.world import Scene, SceneObject

Kind = Literal["object", "colour", "count", "place", "relation"]
KINDS: tuple[Kind, ...] = ("object", "colour", "count", "place", "relation")

_CELLS = {words: cell for cell, words in PLACES.items()}
_COUNTS = {"a": 1, "an": 1} | {word: number for number, word in NUMBERS.items()}


@dataclass(frozen=True)
class Statement:
    """One thing that `text[start_char:end_char]` says of a class.

    kind: "object" (it is in the picture), "colour", "count" ("a" says one), "place" (one of the nine) or "relation"
    (how it lies to `anchor`). `correct` is whether the picture shows it so. `present` is whether the class, and the
    anchor where there is one, are in the picture at all: of what is absent nothing is correct. Of a class with several
    instances a place or a relation is correct when it holds for one of them.
    """

    kind: Kind
    class_name: str
    start_char: int
    end_char: int
    correct: bool
    present: bool
    anchor: str | None = None


@dataclass(frozen=True)
class Claim:
    """One noun phrase that introduces an object ("a red cup"), `text[start_char:end_char]`, and what is said of it.

    Attributes:
        statements: count, and colour, places and relations where the text gives them.
        present: whether the class is in the picture.
        again: whether an earlier noun phrase of the text introduced the same class ("the cup" introduces nothing).
    """

    class_name: str
    start_char: int
    end_char: int
    statements: tuple[Statement, ...]
    present: bool
    again: bool

    @property
    def false(self) -> tuple[Kind, ...]:
        """What is wrong with it: "object" alone where the class is absent, else the kinds of its false statements."""
        if not self.present:
            return ("object",)
        return tuple(dict.fromkeys(each.kind for each in self.statements if not each.correct))


def label_statements(text: str, scene: Scene) -> list[Statement]:
    """Every statement of the text, in the order of the words, labelled by the scene's ground truth.

    An object is stated by the first mention of its class. Colours and numbers are read in noun phrases ("two red
    cups"); a place or a relation belongs to the last noun phrase before it in its sentence, or else to the next one.
    A text that is no caption of the grammar is read as far as these phrases are found in it.
    """
    found = [
        Statement("object", mention.class_name, mention.start_char, mention.end_char, mention.correct, mention.correct)
        for mention in label_mentions(text, scene)
        if mention.first
    ]
    found += [statement for phrase in _phrases(text, scene) for statement in phrase.statements]
    return sorted(found, key=_place)


def label_claims(text: str, scene: Scene) -> list[Claim]:
    """Every noun phrase of the text that introduces an object, in order, with all that `label_statements` reads of it.

    A class that is introduced twice gives two claims; the later one is marked `again`.
    """
    claims: list[Claim] = []
    seen: set[str] = set()
    for phrase in _phrases(text, scene):
        ordered = tuple(sorted(phrase.statements, key=_place))
        present = phrase.name in scene.present
        claims.append(Claim(phrase.name, phrase.start, phrase.end, ordered, present, phrase.name in seen))
        seen.add(phrase.name)
    return claims


@dataclass
class _Phrase:
    """A noun phrase of a sentence, with its statements as they are found."""

    name: str
    start: int
    end: int
    statements: list[Statement]


def _place(statement: Statement) -> tuple[int, int]:
    return statement.start_char, statement.end_char


def _phrases(text: str, scene: Scene) -> Iterator[_Phrase]:
    objects = {item.name: item for item in scene.objects}
    for sentence in re.finditer(r"[^.!?]+", text):
        yield from _of_sentence(text, sentence.start(), sentence.end(), objects)


def _of_sentence(text: str, start: int, end: int, objects: dict[str, SceneObject]) -> list[_Phrase]:
    phrase, place, relation = _expressions()
    subjects: list[_Phrase] = []
    for match in phrase.finditer(text, start, end):
        noun = match["noun"].lower()
        name = SINGULAR.get(noun, noun)
        item = objects.get(name)
        right = item is not None and item.count == _COUNTS[match["number"].lower()]
        said = [Statement("count", name, *match.span("number"), right, item is not None)]
        if match["colour"]:
            right = item is not None and item.colour == match["colour"].lower()
            said.append(Statement("colour", name, *match.span("colour"), right, item is not None))
        subjects.append(_Phrase(name, match.start(), match.end(), said))
    if not subjects:
        return []

    def subject(position: int) -> _Phrase:
        before = [one for one in subjects if one.start < position]
        return before[-1] if before else subjects[0]

    for match in place.finditer(text, start, end):
        one = subject(match.start())
        item = objects.get(one.name)
        right = item is not None and _CELLS[match.group().lower()] in item.cells
        one.statements.append(Statement("place", one.name, *match.span(), right, item is not None))
    for match in relation.finditer(text, start, end):
        one, noun = subject(match.start()), match["anchor"].lower()
        anchor = SINGULAR.get(noun, noun)
        there = one.name in objects and anchor in objects
        right = there and _related(objects[one.name], match["relation"].lower(), objects[anchor])
        one.statements.append(Statement("relation", one.name, *match.span(), right, there, anchor))
    return subjects


def _related(item: SceneObject, relation: str, anchor: SceneObject) -> bool:
    pairs = product(range(item.count), range(anchor.count))
    return item.name != anchor.name and any(relation in lies(item, anchor, one, other) for one, other in pairs)


@lru_cache(maxsize=1)
def _expressions() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    def either(words: object) -> str:
        return "|".join(sorted(words, key=len, reverse=True))  # type: ignore[call-overload]

    nouns = either([*PLURALS, *SINGULAR])
    return (
        re.compile(
            rf"\b(?P<number>{either(_COUNTS)}) (?:(?P<colour>{either(COLOURS)}) )?(?P<noun>{nouns})\b", re.IGNORECASE
        ),
        re.compile(rf"\b(?:{either(_CELLS)})\b", re.IGNORECASE),
        re.compile(rf"\b(?P<relation>{either(RELATIONS)}) the (?P<anchor>{nouns})\b", re.IGNORECASE),
    )
