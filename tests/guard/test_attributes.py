"""What a sentence says of its objects, and which sentences are ones."""

from __future__ import annotations

import pytest

from lvlm_saliency.guard.attributes import said
from lvlm_saliency.guard.sentences import is_sentence
from lvlm_saliency.guard.vocabulary import Vocabulary
from lvlm_saliency.guard.words import mentions

WORDS = Vocabulary.of({name: [] for name in ("cup", "lamp", "dog", "apple", "orange")})


def of(text: str) -> set[tuple[str, str, str]]:
    found = said(text, mentions(text, WORDS, final=True), 0, len(text))
    for one in found:
        assert one.value in one.choices or one.kind == "relation"
        assert len(one.answers) == len(one.choices)
    return {(one.kind, one.name, one.value) for one in found}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("There is a red cup on the left.", "number cup one, colour cup red, place cup on the left"),
        ("Two grey dogs are in the center.", "number dog two, colour dog gray, place dog in the middle"),
        ("At the top left of the picture, there is an old lamp.", "number lamp one, place lamp at the top left"),
        ("In the upper right corner a lamp shines.", "number lamp one, place lamp at the top right"),
        ("There is a dog to the left of the lamp.", "number dog one, relation dog to the left of the"),
        (
            "Next to the lamp, there is a green apple.",
            "number apple one, colour apple green, relation apple next to the",
        ),
        ("An orange is beside a cup.", "number orange one, relation orange beside a"),
        ("There is no red cup on the left.", ""),
        ("It is a quiet day.", ""),
    ],
)
def test_what_is_said(text, expected):
    assert {" ".join(one) for one in of(text)} == {one for one in expected.split(", ") if one}


def test_a_phrase_stands_where_it_is_said_to():
    text = "We see a blue cup at the bottom."
    found = {one.kind: text[one.start : one.end] for one in said(text, mentions(text, WORDS, final=True), 0, len(text))}
    assert found == {"number": "a", "colour": "blue", "place": "at the bottom"}


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("There is a red cup.", True),
        ('He said "stop."', True),
        ("- A red cup\n", True),
        ("", True),
        ("we can see a red park It is a quiet day.", False),
        ("There is a red park", False),
        ("There is a dog and.", False),
        ("There is a,, dog.", False),
        ("There is a dog dog.", False),
        ("Dr. Brown sees a dog.", True),
        ("I can see that the Two of Hearts, The Ace.", False),
    ],
)
def test_what_is_a_sentence(text, whole):
    assert is_sentence(text) == whole
