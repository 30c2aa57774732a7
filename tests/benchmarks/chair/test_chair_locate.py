"""CHAIR's mentions as spans of characters: the same words as the scorer's, in the right place."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.benchmarks.chair import Synonyms, find_mentions, locate
from lvlm_saliency.benchmarks.chair.mentions import normaliser
from lvlm_saliency.benchmarks.chair.synonyms import TWO_WORDS
from lvlm_saliency.benchmarks.chair.tokenizer import tokenize


def shown(caption, synonyms, variant="official"):
    return [(caption[one.start : one.end], one.word, one.node) for one in locate(caption, synonyms, variant)]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Two DOGS, and a man's puppy.", [("DOGS", "dog", "dog"), ("man", "man", "person"), ("puppy", "puppy", "dog")]),
        ("A wine glass.", [("wine glass", "wine glass", "wine glass")]),
        ("a  Traffic\nLight blinks", [("Traffic\nLight", "traffic light", "traffic light")]),
        ('The "dog" sat; ``cat\'\' "man', [("dog", "dog", "dog"), ("man", "man", "person")]),
        ("İİ a dog", [("dog", "dog", "dog")]),  # longer in lower case
        ("A toilet and a seat by the dog", [("toilet", "toilet", "toilet"), ("dog", "dog", "dog")]),
        ("The toilet seat by a dog", [("toilet seat", "toilet", "toilet"), ("dog", "dog", "dog")]),
        ("dog/cat man-made", []),
        ("", []),
    ],
)
def test_spans(synonyms, caption, expected):
    assert shown(caption, synonyms) == expected


def covers(caption, one, variant):
    """Whether the span's own characters, read by themselves, are the mention."""
    words = normaliser(variant)(tokenize(caption[one.start : one.end]))
    return words == [one.word] or TWO_WORDS.get(tuple(words)) == one.word


@pytest.mark.parametrize("system", ["greedy", "beam5"])
def test_real_captions(official, system):
    synonyms = Synonyms.read(official / "chair" / "synonyms.txt")
    lines = (official / "chair" / f"captions_llava15_{system}.jsonl").read_text().splitlines()
    captions = [json.loads(line)["caption"] for line in lines]
    count = 0
    for caption in captions:
        found = locate(caption, synonyms)
        mentions = find_mentions(caption, synonyms)
        assert [one.word for one in found] == mentions.words
        assert [one.node for one in found] == mentions.nodes
        assert all(covers(caption, one, "official") for one in found)
        assert all(one.end <= two.start for one, two in pairwise(found))
        count += len(found)
    assert len(captions) >= 400
    assert count > 4 * len(captions)


def test_real_captions_of_the_lemmatizer(official, nltk_data):
    synonyms = Synonyms.read(official / "chair" / "synonyms.txt")
    lines = (official / "chair" / "captions_llava15_greedy.jsonl").read_text().splitlines()[:60]
    for caption in (json.loads(line)["caption"] for line in lines):
        found = locate(caption, synonyms, "lemmatizer")
        assert [one.word for one in found] == find_mentions(caption, synonyms, "lemmatizer").words


@given(st.text("dogDOG cat's man.,-\"'`İßσΣ\n!?()2n't", max_size=60))
def test_any_text_has_the_same_mentions(text):
    synonyms = Synonyms({"dog": "dog", "cat": "cat", "man": "person", "dogs": "dog"})
    found = locate(text, synonyms)
    assert [one.word for one in found] == find_mentions(text, synonyms).words
    assert all(text[one.start : one.end].lower().startswith(one.word[:2]) for one in found)
