"""Statements: references are true in all they say of what is drawn, and planted errors are found, each as its kind."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.scenes.captions import write_caption
from lvlm_saliency.scenes.classes import COLOURS
from lvlm_saliency.scenes.grammar import NUMBERS, PLACES, RELATIONS
from lvlm_saliency.scenes.labels import label_mentions
from lvlm_saliency.scenes.statements import Statement, label_claims, label_statements
from lvlm_saliency.scenes.world import Scene, SceneObject, generate_scenes

SCENES = st.builds(lambda seed: generate_scenes(1, seed)[0], st.integers(0, 10_000_000))
WORDING = st.integers(0, 2**32)


def _thing(name: str, colour: str, *cells: tuple[int, int]) -> SceneObject:
    boxes = tuple((85 * column + 5, 85 * row + 5, 85 * column + 80, 85 * row + 80) for row, column in cells)
    return SceneObject(name, colour, cells, boxes)


KITCHEN = Scene(
    "kitchen",
    (
        _thing("cup", "red", (0, 0), (2, 2)),
        _thing("plate", "white", (0, 1)),
        _thing("pot", "black", (1, 0)),
    ),
    (),
    "test",
    0,
    0,
)


def _read(text: str, scene: Scene = KITCHEN) -> list[tuple[str, str, str, bool]]:
    return [
        (each.kind, each.class_name, text[each.start_char : each.end_char], each.correct)
        for each in label_statements(text, scene)
        if each.kind != "object"
    ]


@given(SCENES, WORDING)
def test_references_are_true_in_all_they_say_of_what_is_drawn(scene: Scene, wording: int) -> None:
    text = write_caption(scene, np.random.default_rng(wording))
    for each in label_statements(text, scene):
        assert each.correct == each.present, (text, each)


@given(SCENES, WORDING)
def test_nothing_that_a_reference_says_is_missed(scene: Scene, wording: int) -> None:
    """Counted word by word, without the grammar."""
    text = write_caption(scene, np.random.default_rng(wording)).lower()
    found = label_statements(text, scene)

    def of(kind: str) -> list[Statement]:
        return [each for each in found if each.kind == kind]

    assert len(of("colour")) == len(re.findall(rf"\b({'|'.join(COLOURS)})\b", text))
    assert len(of("relation")) == len(re.findall(rf"({'|'.join(RELATIONS)}) the ", text))
    places = re.findall(r"\b(at|on|in) the (top|bottom|left|right|middle)", text)
    assert len(of("place")) == len(places)
    assert len(of("object")) == len(of("count")) == len({m.class_name for m in label_mentions(text, scene)})


@given(SCENES, WORDING, st.data())
def test_a_planted_error_is_found_and_only_that(scene: Scene, wording: int, data: st.DataObject) -> None:
    text = write_caption(scene, np.random.default_rng(wording))
    found = [each for each in label_statements(text, scene) if each.present and each.kind in {"colour", "place"}]
    if not found:
        return
    target = data.draw(st.sampled_from(found))
    said = text[target.start_char : target.end_char]
    options = {"colour": COLOURS, "place": PLACES.values()}[target.kind]
    wrong = data.draw(st.sampled_from(sorted(set(options) - {said.lower()})))
    planted = text[: target.start_char] + wrong + text[target.end_char :]
    false = [each for each in label_statements(planted, scene) if each.present and not each.correct]
    assert [(each.kind, each.class_name) for each in false] == [(target.kind, target.class_name)]
    assert planted[false[0].start_char : false[0].end_char] == wrong


def test_every_kind_is_read_with_its_words() -> None:
    text = "This is a kitchen with two red cups. There is a black plate at the top. The pot is next to the plate."
    assert _read(text) == [
        ("count", "cup", "two", True),
        ("colour", "cup", "red", True),
        ("count", "plate", "a", True),
        ("colour", "plate", "black", False),
        ("place", "plate", "at the top", True),
    ]
    assert _read("Above the pot, there is a plate.") == [
        ("relation", "plate", "Above the pot", False),
        ("count", "plate", "a", True),
    ]
    assert _read("At the top right, we can see a pot.")[0] == ("place", "pot", "At the top right", False)


@pytest.mark.parametrize(
    ("place", "correct"), [("at the top left", True), ("at the bottom right", True), ("at the top", False)]
)
def test_a_place_of_one_of_several_instances_is_right(place: str, correct: bool) -> None:
    assert _read(f"There is a cup {place}.") == [("count", "cup", "a", False), ("place", "cup", place, correct)]


@pytest.mark.parametrize(
    ("relation", "of_cups", "of_plate"),
    [
        ("to the left of", True, True),
        ("to the right of", True, True),
        ("above", False, True),
        ("below", True, False),
        ("next to", True, True),
    ],
)
def test_a_relation_holds_by_the_longer_distance_of_any_two_instances(
    relation: str, of_cups: bool, of_plate: bool
) -> None:
    """Cups to the left, to the right and far below a plate."""
    scene = replace(KITCHEN, objects=(_thing("cup", "red", (0, 0), (2, 1), (0, 2)), *KITCHEN.objects[1:]))
    assert _read(f"Three cups are {relation} the plate.", scene)[-1][3] == of_cups
    assert _read(f"A plate is {relation} the cup.", scene)[-1][3] == of_plate


@pytest.mark.parametrize(("relation", "correct"), [("to the left of", False), ("above", True), ("next to", False)])
def test_the_shorter_distance_does_not_count(relation: str, correct: bool) -> None:
    scene = replace(KITCHEN, objects=(_thing("cup", "red", (0, 0)), _thing("pot", "black", (2, 1))))
    assert _read(f"A cup is {relation} the pot.", scene)[-1][3] == correct


def test_nothing_is_true_of_what_is_absent() -> None:
    found = label_statements("A brown dog is to the left of the cup. A cup is above the dog.", KITCHEN)
    about_dog = [each for each in found if "dog" in (each.class_name, each.anchor)]
    assert {each.kind for each in about_dog} == {"object", "colour", "count", "relation"}
    assert not any(each.correct or each.present for each in about_dog)


def test_an_object_is_no_neighbour_of_itself() -> None:
    assert not _read("A cup is next to the cup.")[-1][3]


@pytest.mark.parametrize("number", [*NUMBERS.values(), "a"])
def test_numbers(number: str) -> None:
    assert _read(f"We can see {number} cups.")[0] == ("count", "cup", number, number == "two")


def test_text_without_statements() -> None:
    assert label_statements("", KITCHEN) == []
    assert label_statements("It is at the top left.", KITCHEN) == []


@given(SCENES, WORDING)
def test_no_relation_is_said_of_a_diagonal(scene: Scene, wording: int) -> None:
    """A few pixels decide there which distance is the longer: "next to" of neighbours is all that can be said."""
    objects = {item.name: item for item in [*scene.objects, *scene.hidden]}
    text = write_caption(scene, np.random.default_rng(wording))
    for each in label_statements(text, scene):
        if each.kind == "relation" and not text[each.start_char : each.end_char].lower().startswith("next to"):
            (row, column), (other_row, other_column) = (objects[n].cells[0] for n in (each.class_name, each.anchor))
            assert abs(row - other_row) != abs(column - other_column)


@given(SCENES, WORDING)
def test_claims_hold_every_statement_but_the_naming_itself(scene: Scene, wording: int) -> None:
    text = write_caption(scene, np.random.default_rng(wording))
    claims = label_claims(text, scene)
    flat = [each for claim in claims for each in claim.statements]
    assert sorted(flat, key=repr) == sorted((e for e in label_statements(text, scene) if e.kind != "object"), key=repr)
    for claim in claims:
        assert claim.present == (claim.class_name in scene.present)
        hidden_anchor = any(not each.present for each in claim.statements)
        expected = ("object",) if not claim.present else ("relation",) if hidden_anchor else ()
        assert claim.false == expected, "references are true of what is there"
        assert not claim.again, "a reference introduces a class once"
        assert {each.class_name for each in claim.statements} == {claim.class_name}


def test_a_claim_is_false_in_what_is_wrong_with_it() -> None:
    text = (
        "There is a black plate at the bottom. There are two red cups. "
        "A dog is next to the dog. A plate is to the right of the cup."
    )
    claims = label_claims(text, KITCHEN)
    assert [(c.class_name, c.false, c.again) for c in claims] == [
        ("plate", ("colour", "place"), False),
        ("cup", (), False),
        ("dog", ("object",), False),
        ("plate", (), True),
    ]


def test_a_present_object_beside_an_absent_one_is_a_false_relation() -> None:
    (claim,) = label_claims("A pot is next to the dog.", KITCHEN)
    assert claim.present
    assert claim.false == ("relation",)


def test_naming_again_with_the_is_no_introduction() -> None:
    claims = label_claims("We can see a pot. A plate is above the pot.", KITCHEN)
    assert [(claim.class_name, claim.again) for claim in claims] == [("pot", False), ("plate", False)]
