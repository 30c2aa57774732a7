"""The grammar's round trip: what is written can be read, and its labels are the ground truth."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.errors import InputError
from lvlm_saliency.scenes.captions import write_caption
from lvlm_saliency.scenes.labels import chair_scores, label_mentions, label_tokens, parses
from lvlm_saliency.scenes.world import Scene, generate_scenes

SCENES = st.builds(lambda seed: generate_scenes(1, seed)[0], st.integers(0, 10_000_000))
WORDING = st.integers(0, 2**32)


@given(SCENES, WORDING)
def test_every_caption_parses_and_its_labels_are_the_ground_truth(scene: Scene, wording: int) -> None:
    text = write_caption(scene, np.random.default_rng(wording))
    assert parses(text), text
    mentions = label_mentions(text, scene)
    assert {mention.class_name for mention in mentions if mention.correct} == scene.present
    assert {mention.class_name for mention in mentions if not mention.correct} == {item.name for item in scene.hidden}
    for mention in mentions:
        assert re.fullmatch(r"[a-z]+", text[mention.start_char : mention.end_char])


@given(SCENES, WORDING)
def test_each_class_is_introduced_once(scene: Scene, wording: int) -> None:
    text = write_caption(scene, np.random.default_rng(wording))
    for mention in label_mentions(text, scene):
        before = text[: mention.start_char]
        assert mention.first != before.endswith("the "), text


@given(SCENES)
def test_the_own_wording_of_a_scene_never_changes(scene: Scene) -> None:
    assert write_caption(scene) == write_caption(scene)


def test_articles_agree_and_length_is_as_told() -> None:
    texts = [write_caption(scene) for scene in generate_scenes(600, 8)]
    assert not any(re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", text) for text in texts)
    assert any("an office" in text for text in texts)
    assert 38 < np.mean([len(text.split()) for text in texts]) < 46
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "This is a office with a cup.",
        "This is an office.",
        "this is an office with a cup.",
        "This is an office with a cup",
        "This is an office with a cup. There is a dog on the",
        "This is an office with a cup. It is a quiet day. There is a dog on the left.",
        "There is a dog on the left. This is an office with a cup.",
        "This is an office with two cup.",
        "This is an office with a horse and a cup.",
    ],
)
def test_what_is_no_caption_does_not_parse(text: str) -> None:
    assert not parses(text)


def _kitchen() -> Scene:
    return next(
        scene for scene in generate_scenes(200, 0) if {"cup", "plate"} <= scene.present and "dog" not in scene.present
    )


def test_labels_follow_number_case_and_repetition() -> None:
    text = "A kitchen with two cups. A dog is to the left of the cup. The DOG sees a plate."
    found = [(m.class_name, m.correct, m.first) for m in label_mentions(text, _kitchen())]
    assert found == [
        ("cup", True, True),
        ("dog", False, True),
        ("cup", True, False),
        ("dog", False, False),
        ("plate", True, True),
    ]


def test_parts_of_other_words_are_no_mentions() -> None:
    assert label_mentions("A cupboard, a carpet, bookish and potted.", _kitchen()) == []


def test_every_piece_of_a_mention_is_labelled() -> None:
    text = "a kettle, umbrellas and a cup"
    offsets = [(0, 0), (0, 1), (10, 15), (15, 20), (20, 23), (24, 25), (25, 29)]
    labels = label_tokens(text, offsets, _kitchen())
    assert [label and label.class_name for label in labels] == [
        None,
        None,
        "umbrella",
        "umbrella",
        None,
        None,
        "cup",
    ]


def test_chair_counts_every_mention() -> None:
    scene = _kitchen()
    texts = ["A cup and a dog. The dog.", "A cup."]
    scores = chair_scores(texts, [scene, scene])
    assert scores.chair_s == 0.5
    assert scores.chair_i == 0.5
    assert scores.recall == 1 / len(scene.present)


def test_chair_refuses_what_does_not_pair() -> None:
    with pytest.raises(InputError, match="one caption per scene"):
        chair_scores(["A cup."], [])
