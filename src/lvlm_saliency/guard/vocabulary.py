"""Which words name objects: canonical names, and every way of writing them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import read_text

NOUNS = Path(__file__).parent / "nouns.txt"
SOURCES = ("scenes", "nouns")
"""Vocabularies that ship; anything else is the path of a user's file."""

IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "shelf": "shelves",
    "bookshelf": "bookshelves",
    "scarf": "scarves",
    "calf": "calves",
    "wolf": "wolves",
    "half": "halves",
    "thief": "thieves",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "cactus": "cacti",
    "bus": "buses",
}
UNCOUNTED = frozenset(["sheep", "fish", "deer", "bison", "scissors", "people", "skis", "luggage", "broccoli", "cattle"])

_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe")
EXCEPTIONS: Mapping[str, str | None] = {
    **{f"{age} {animal}": animal for age in ("baby", "adult") for animal in _ANIMALS},
    "toilet seat": "toilet",
    "passenger jet": "jet",
    "passenger train": "train",
    "bow tie": "tie",
    **dict.fromkeys(
        (
            "remote control",
            "mouse pad",
            "train track",
            "train station",
            "bus stop",
            "bus station",
            "car park",
            "boat house",
            "dog house",
            "bird house",
            "cat tree",
            "bed room",
            "home plate",
            "license plate",
            "number plate",
            "orange juice",
            "apple tree",
            "apple juice",
            "orange tree",
            "flower pot",
            "flower bed",
            "book shelf",
            "tree house",
            "chair lift",
            "table cloth",
            "table tennis",
            "hot dog stand",
        )
    ),
}
"""Compounds that contain an object's name but mean something else: the object that they mean (used if the vocabulary
has it), or None for nothing that is checked."""


@dataclass(frozen=True)
class Vocabulary:
    """Names of objects.

    Attributes:
        surfaces: every spelling of an object's name (lower case, single blanks) and its canonical name; None for words
            that are known to name nothing that is checked.
        name: where the vocabulary comes from, for messages.
    """

    surfaces: Mapping[str, str | None]
    name: str = ""

    def __post_init__(self) -> None:
        if not any(self.surfaces.values()):
            raise InputError(f"{self.name or 'the vocabulary'}: there is no object name in it")

    @classmethod
    def of(cls, classes: Mapping[str, Iterable[str]], name: str = "") -> Vocabulary:
        """A vocabulary of canonical names and their synonyms, singular or plural. Plurals are added.

        Raises:
            InputError: there is no name, or a name stands for two objects.
        """
        written: dict[str, str | None] = {}
        for canonical, synonyms in classes.items():
            for word in dict.fromkeys([canonical, *synonyms]):
                if (clean := _clean(word)) and written.setdefault(clean, _clean(canonical)) != _clean(canonical):
                    raise InputError(f"{name or 'the vocabulary'}: {word!r} stands for two objects")
        plurals: dict[str, str | None] = {}
        for surface, name_of in written.items():
            plurals.setdefault(plural(surface), name_of)
        found = {**plurals, **written}
        for surface, meant in EXCEPTIONS.items():
            for form in (surface, plural(surface)):
                known = None if meant is None else found.get(meant)
                found.setdefault(form, known)
        return cls(found, name)

    @cached_property
    def canonical(self) -> tuple[str, ...]:
        """The canonical names, sorted."""
        return tuple(sorted({name for name in self.surfaces.values() if name}))

    @cached_property
    def of_name(self) -> Mapping[str, tuple[str, ...]]:
        """All spellings of each canonical name."""
        found: dict[str, list[str]] = {name: [] for name in self.canonical}
        for surface, name in self.surfaces.items():
            if name:
                found[name].append(surface)
        return {name: tuple(forms) for name, forms in found.items()}

    @cached_property
    def longest(self) -> int:
        """The largest number of words in a spelling."""
        return max(surface.count(" ") + 1 for surface in self.surfaces)

    @cached_property
    def firsts(self) -> frozenset[str]:
        """The first words of all spellings."""
        return frozenset(surface.split(" ")[0] for surface in self.surfaces)

    @cached_property
    def beginnings(self) -> frozenset[str]:
        """Beginnings of longer spellings: a match that ends there is not certain until the next word is known."""
        return frozenset(
            " ".join(words[:count])
            for words in (surface.split(" ") for surface in self.surfaces)
            for count in range(1, len(words))
        )


def plural(surface: str) -> str:
    """The plural of a spelling; of several words, the last becomes plural."""
    *before, word = surface.split(" ")
    return " ".join([*before, _plural(word)])


def _plural(word: str) -> str:
    if word in UNCOUNTED or word in IRREGULAR.values():
        return word
    for singular, many in IRREGULAR.items():
        if word == singular or (singular in ("man", "woman") and word.endswith(singular) and word != "human"):
            return word.removesuffix(singular) + many
    if re.search(r"(?:s|x|z|ch|sh)$", word):
        return word + "es"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + "s"


def _clean(word: str) -> str:
    return " ".join(re.findall(r"[^\W\d_]+", word.lower()))


def open_vocabulary(source: str) -> Vocabulary:
    """The vocabulary of this name (`SOURCES`) or file. A file has one object a line: its name, then other names for it,
    separated by commas (CHAIR's synonym list is such a file); `#` begins a comment.

    Raises:
        InputError: the file cannot be read or holds no names.
    """
    if source == "scenes":
        from lvlm_saliency.scenes.classes import PLURALS

        return Vocabulary({form: name for name, many in PLURALS.items() for form in (name, many)}, "scenes")
    path = NOUNS if source == "nouns" else Path(source)
    lines = [line.split("#")[0].split(",") for line in read_text(path).splitlines()]
    classes: dict[str, list[str]] = {}
    for names in lines:
        if names[0].strip():
            classes.setdefault(names[0].strip(), []).extend(name.strip() for name in names[1:])
    return Vocabulary.of(classes, source)
