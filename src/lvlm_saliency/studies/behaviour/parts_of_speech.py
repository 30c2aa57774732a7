"""Parts of speech of single words: exact in the drawn world, whose vocabulary is closed, and NLTK's elsewhere."""

from __future__ import annotations

import re

from lvlm_saliency.benchmarks.base import Benchmark
from lvlm_saliency.errors import InputError
from lvlm_saliency.scenes.classes import COLOURS, PLURALS, SCENE_KINDS, SINGULAR
from lvlm_saliency.scenes.grammar import NUMBERS, SCENE_ADJECTIVES
from lvlm_saliency.studies.behaviour.first_draws import Tagger

OBJECT, REST, END = "object", "rest of a word", "end of text"

_CLOSED: dict[str, tuple[str, ...]] = {
    OBJECT: (*PLURALS, *SINGULAR),
    "colour": tuple(COLOURS),
    "number": tuple(NUMBERS.values()),
    "article": ("a", "an", "the"),
    "other noun": (*SCENE_KINDS, "picture", "drawing", "scene", "day", "place"),
    "position": ("top", "bottom", "left", "right", "middle"),
    "preposition": ("of", "with", "at", "on", "in", "to", "next", "above", "below", "like"),
    "verb": ("is", "are", "can", "be", "see", "seen", "shows", "looks"),
    "adjective": (*SCENE_ADJECTIVES, "calm", "nice", "tidy", "still"),
    "pronoun": ("this", "it", "we", "everything", "nobody", "all"),
    "adverb": ("there", "here", "also", "overall"),
    "conjunction": ("and",),
    "punctuation": (".", ","),
}
_OF_WORD = {word: tag for tag, words in _CLOSED.items() for word in words}

_PENN = (
    ("NN", "other noun"),
    ("VB|MD", "verb"),
    ("JJ", "adjective"),
    ("RB|WRB|EX", "adverb"),
    ("PRP|WP", "pronoun"),
    ("IN|TO|RP", "preposition"),
    ("DT|WDT|PDT", "article"),
    ("CD", "number"),
    ("CC", "conjunction"),
)
CONTEXT = 12
"""Words before a word that NLTK's tagger sees."""


def tagger(benchmark: Benchmark) -> tuple[Tagger | None, str]:
    """How drawn words are tagged, and what to say about it; None, with the reason, where nothing can tag them."""
    if benchmark.name.startswith("scenes"):
        return closed, "Parts of speech are exact: the drawn world's vocabulary is closed."
    from lvlm_saliency.benchmarks.nltk_tools import tags

    try:
        tags(["word"])
    except InputError as missing:
        return None, f"Parts of speech are left out: {missing}."
    return by_nltk, "Parts of speech are NLTK's, with the words before each as context."


def closed(before: str, piece: str, names_object: bool) -> str:
    """The tag of a word of the drawn world; "other" for one that its captions do not use."""
    word = piece.strip().lower()
    if not word:
        return END
    return OBJECT if names_object else _OF_WORD.get(word, "other")


def by_nltk(before: str, piece: str, names_object: bool) -> str:
    """NLTK's tag, reduced to a few classes; a piece that does not begin a word is `REST`."""
    from lvlm_saliency.benchmarks.nltk_tools import tags

    word = piece.strip()
    if not word:
        return END
    if names_object:
        return OBJECT
    if not re.search(r"\w", word):
        return "punctuation"
    if before and not piece[0].isspace() and not before[-1].isspace():
        return REST
    *_, (_, tag) = tags([*before.split()[-CONTEXT:], word])
    return next((name for pattern, name in _PENN if re.match(pattern, tag)), "other")
