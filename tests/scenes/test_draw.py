"""Pictures: deterministic, complete, and every class distinct from every other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lvlm_saliency.scenes.classes import CLASSES, COLOURS
from lvlm_saliency.scenes.draw import background, draw_scene, label_maps
from lvlm_saliency.scenes.sprites import sprite
from lvlm_saliency.scenes.world import PICTURE_SIZE, generate_scenes


def test_the_same_scene_gives_the_same_pixels() -> None:
    for scene in generate_scenes(5, 1):
        first, second = draw_scene(scene), draw_scene(scene)
        assert first.size == (PICTURE_SIZE, PICTURE_SIZE)
        assert first.mode == "RGB"
        assert first.tobytes() == second.tobytes()


def test_every_object_changes_the_picture_inside_its_box() -> None:
    for scene in generate_scenes(20, 2):
        changed = (np.asarray(draw_scene(scene)) != np.asarray(background(scene.kind))).any(-1)
        inside = np.zeros_like(changed)
        for item in scene.objects:
            for left, top, right, bottom in item.boxes:
                box = np.s_[max(top, 0) : bottom, max(left, 0) : right]
                assert changed[box].sum() > 100
                inside[box] = True
        assert not (changed & ~inside).any()


def test_backgrounds_are_not_painted_over() -> None:
    scene = generate_scenes(1, 3)[0]
    before = background(scene.kind).tobytes()
    draw_scene(scene)
    assert background(scene.kind).tobytes() == before


@pytest.mark.parametrize("mirrored", [False, True])
def test_classes_differ_in_outline(mirrored: bool) -> None:
    masks = {name: np.asarray(sprite(name, COLOURS["red"], 40, mirrored))[..., 3] > 127 for name in CLASSES}
    for first, second in itertools.combinations(CLASSES, 2):
        union = (masks[first] | masks[second]).sum()
        if {first, second} != {"ball", "clock"}:  # both are discs: the inside tells them apart
            assert (masks[first] & masks[second]).sum() / union < 0.93, (first, second)


def test_label_maps_point_at_what_is_there() -> None:
    names, colours = list(CLASSES), list(COLOURS)
    for scene in generate_scenes(20, 5):
        classes, shades, places, numbers = label_maps(scene, names, colours)
        assert classes.shape == shades.shape == (8, 8)
        for other in (shades, places, numbers):
            assert ((classes > 0) == (other > 0)).all()
        assert {names[index - 1] for index in np.unique(classes) if index} == scene.present
        of = {item.name: item for item in scene.objects}
        for row, column in zip(*np.nonzero(classes), strict=True):
            item = of[names[classes[row, column] - 1]]
            assert item.colour == colours[shades[row, column] - 1]
            assert item.count == numbers[row, column]
            instance = item.cells.index(divmod(int(places[row, column]) - 1, 3))
            left, top, right, bottom = item.boxes[instance]
            assert left - 32 < 32 * column < right
            assert top - 32 < 32 * row < bottom
