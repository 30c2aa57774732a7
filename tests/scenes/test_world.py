"""Scenes depend on their seed alone, and the world has the properties that make a model hallucinate."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.errors import SettingError
from lvlm_saliency.scenes.classes import CLASS_COLOURS, CLASSES, COLOURS, PLURALS, SCENE_KINDS, co_occurrence
from lvlm_saliency.scenes.world import GRID, PICTURE_SIZE, SPLITS, demo_scenes, generate_scenes

SEEDS = st.integers(0, 10_000)


@given(SEEDS)
def test_same_seed_same_scenes(seed: int) -> None:
    assert generate_scenes(4, seed) == generate_scenes(4, seed)


@given(SEEDS)
def test_a_scene_does_not_depend_on_how_many_are_asked_for(seed: int) -> None:
    assert generate_scenes(6, seed)[4:] == generate_scenes(2, seed, start=4)


def test_splits_and_seeds_share_no_scene() -> None:
    contents = Counter()
    for split in SPLITS:
        for seed in (0, 1):
            contents.update((scene.kind, scene.objects) for scene in generate_scenes(200, seed, split))
    assert max(contents.values()) == 1
    assert len(set(SPLITS.values())) == len(SPLITS)


@given(SEEDS)
def test_every_scene_is_well_formed(seed: int) -> None:
    for scene in generate_scenes(3, seed):
        assert 3 <= len(scene.objects) <= 6
        assert len(scene.present) == len(scene.objects)
        assert not scene.present & {item.name for item in scene.hidden}
        cells = [cell for item in scene.objects for cell in item.cells]
        assert len(cells) == len(set(cells)) <= GRID * GRID
        for item in scene.objects:
            assert item.colour in CLASS_COLOURS[item.name]
            assert 1 <= item.count <= 3
            for left, top, right, bottom in item.boxes:
                assert right - left == bottom - top >= 40
                assert left < PICTURE_SIZE > top
                assert right > 0 < bottom


def test_what_a_scene_expects_is_often_absent_and_then_often_named() -> None:
    scenes = generate_scenes(1500, 3)
    for kind, table in SCENE_KINDS.items():
        some = [scene for scene in scenes if scene.kind == kind]
        for name, probability in table.items():
            if probability < 0.5:
                continue
            absent = [scene for scene in some if name not in scene.present]
            assert 0.1 < len(absent) / len(some) < 0.6
            named = sum(any(item.name == name for item in scene.hidden) for scene in absent)
            assert 0.08 < named / len(absent) < 0.55


def test_looks_that_are_hard_to_see_are_there() -> None:
    looks = Counter(item.look for scene in generate_scenes(500, 4) for item in scene.objects)
    total = sum(looks.values())
    for look in ("small", "pale", "occluded"):
        assert 0.03 < looks[look] / total < 0.15


def test_the_table_is_consistent() -> None:
    assert set(CLASS_COLOURS) == set(CLASSES)
    assert 20 <= len(CLASSES) <= 22
    assert {name for table in SCENE_KINDS.values() for name in table} == set(CLASSES)
    assert {colour for colours in CLASS_COLOURS.values() for colour in colours} <= set(COLOURS)
    assert not set(PLURALS.values()) & set(CLASSES)
    assert co_occurrence("cup", "plate") == co_occurrence("plate", "cup") > co_occurrence("cup", "car") == 0


def test_demo_scenes_go_through_the_kinds() -> None:
    scenes = demo_scenes(8, seed=0)
    assert [scene.kind for scene in scenes[:6]] == list(SCENE_KINDS)
    assert len(scenes) == 8
    assert {scene.split for scene in scenes} == {"demo"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((3, 0, "tset"), "did you mean 'test'"), ((-1, 0), "negative"), ((1, -5), "negative")],
)
def test_bad_settings_are_refused(arguments: tuple, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        generate_scenes(*arguments)
