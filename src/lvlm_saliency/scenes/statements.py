"""What a caption states, one statement at a time, judged by the ground truth: objects, colours, numbers and places.

CHAIR asks only whether a named object is there. A caption also says what colour it has, how many there are, where they
are and how they lie to each other; this module reads all of that.
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


def label_statements(text: str, scene: Scene) -> list[Statement]:
    """Every statement of the text, in the order of the words, labelled by the scene's ground truth.

    An object is stated by the first mention of its class. Colours and numbers are read in noun phrases ("two red
    cups"); a place or a relation belongs to the last noun phrase before it in its sentence, or else to the next one.
    A text that is no caption of the grammar is read as far as these phrases are found in it.
    """
    objects = {item.name: item for item in scene.objects}
    found = [
        Statement("object", mention.class_name, mention.start_char, mention.end_char, mention.correct, mention.correct)
        for mention in label_mentions(text, scene)
        if mention.first
    ]
    for sentence in re.finditer(r"[^.!?]+", text):
        found += _of_sentence(text, sentence.start(), sentence.end(), objects)
    return sorted(found, key=lambda statement: (statement.start_char, statement.end_char))


def _of_sentence(text: str, start: int, end: int, objects: dict[str, SceneObject]) -> Iterator[Statement]:
    phrase, place, relation = _expressions()
    subjects = []
    for match in phrase.finditer(text, start, end):
        noun = match["noun"].lower()
        name = SINGULAR.get(noun, noun)
        item = objects.get(name)
        subjects.append((match.start(), name))
        right = item is not None and item.count == _COUNTS[match["number"].lower()]
        yield Statement("count", name, *match.span("number"), right, item is not None)
        if match["colour"]:
            right = item is not None and item.colour == match["colour"].lower()
            yield Statement("colour", name, *match.span("colour"), right, item is not None)
    if not subjects:
        return

    def subject(position: int) -> str:
        before = [name for where, name in subjects if where < position]
        return before[-1] if before else subjects[0][1]

    for match in place.finditer(text, start, end):
        name = subject(match.start())
        item = objects.get(name)
        right = item is not None and _CELLS[match.group().lower()] in item.cells
        yield Statement("place", name, *match.span(), right, item is not None)
    for match in relation.finditer(text, start, end):
        name, noun = subject(match.start()), match["anchor"].lower()
        anchor = SINGULAR.get(noun, noun)
        there = name in objects and anchor in objects
        right = there and _related(objects[name], match["relation"].lower(), objects[anchor])
        yield Statement("relation", name, *match.span(), right, there, anchor)


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
