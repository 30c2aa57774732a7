"""Sampling scenes: what is in the picture, where, how well it can be seen, and what is only said to be there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.scenes.classes import CLASS_COLOURS, CLASSES, COUNTABLE, HIGH, SCENE_KINDS

PICTURE_SIZE = 256
GRID = 3
CELL = PICTURE_SIZE / GRID

# The split is the first word of every generator's seed, so that no two splits can share a scene's seed.
SPLITS: dict[str, int] = {"train": 101, "dev": 211, "test": 307, "demo": 401}

SMALL, PALE, OCCLUDED = 0.08, 0.08, 0.10
STRANGER = 0.15
HIDDEN_EXPECTED = 0.30
"""Probability that a class which the scene expects (p >= 0.5) but lacks is named by the reference captions anyway."""
HIDDEN_OTHER = 0.05
MIN_CLASSES, MAX_CLASSES, MAX_INSTANCES = 3, 6, 8

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class SceneObject:
    """One class in a scene: `count` instances of one colour.

    `cells` are (row, column) in the 3 x 3 grid, `boxes` are (left, top, right, bottom) in pixels of the 256 x 256
    picture, one per instance; `look` is "plain", "small", "pale" or "occluded"; `mirrored` flips the drawing.
    """

    name: str
    colour: str
    cells: tuple[tuple[int, int], ...]
    boxes: tuple[Box, ...]
    look: str = "plain"
    mirrored: bool = False

    @property
    def count(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Scene:
    """A scene's exact ground truth.

    `objects` are drawn. `hidden` are not in the picture at all, but the reference captions name them: label noise of
    the kind that real caption data has, and the reason why a model trained on them learns to guess.
    """

    kind: str
    objects: tuple[SceneObject, ...]
    hidden: tuple[SceneObject, ...]
    split: str
    seed: int
    index: int

    @property
    def present(self) -> frozenset[str]:
        """Names of the classes that are in the picture."""
        return frozenset(item.name for item in self.objects)

    def generator(self, purpose: int) -> np.random.Generator:
        """A generator of this scene's own for one numbered purpose (words, questions), apart from its sampling."""
        return np.random.default_rng([SPLITS[self.split], self.seed, self.index, purpose])


def generate_scenes(n: int, seed: int, split: str = "test", *, start: int = 0) -> list[Scene]:
    """`n` scenes, numbers `start` to `start + n - 1` of a split; scene i depends on (split, seed, i) alone.

    Raises `SettingError` for an unknown split, a negative seed or n < 0.
    """
    if split not in SPLITS:
        raise SettingError(f"unknown split {split!r}{did_you_mean(split, SPLITS)}")
    if n < 0 or seed < 0 or start < 0:
        raise SettingError("the number of scenes, the seed and the start must not be negative")
    return [_sample(split, seed, index) for index in range(start, start + n)]


def demo_scenes(n: int = 8, seed: int = 0) -> list[Scene]:
    """Held-out scenes for demonstrations, one kind after the other; none is in any training, dev or test split."""
    kinds = list(SCENE_KINDS)
    found: list[Scene] = []
    index = 0
    while len(found) < n:
        scene = _sample("demo", seed, index)
        index += 1
        if scene.kind == kinds[len(found) % len(kinds)]:
            found.append(scene)
    return found


def _sample(split: str, seed: int, index: int) -> Scene:
    rng = np.random.default_rng([SPLITS[split], seed, index])
    kind = list(SCENE_KINDS)[rng.integers(len(SCENE_KINDS))]
    names = _sample_classes(rng, kind)
    counts = _sample_counts(rng, names)
    objects = _place(rng, names, counts)
    present = set(names)
    hidden = []
    for name, probability in SCENE_KINDS[kind].items():
        noise = HIDDEN_EXPECTED if probability >= 0.5 else HIDDEN_OTHER
        if name not in present and rng.random() < noise:
            cell = (int(rng.integers(GRID)), int(rng.integers(GRID)))
            hidden.append(SceneObject(name, _colour(rng, name), (cell,), (_box(rng, cell, 70),)))
    return Scene(kind, tuple(objects), tuple(hidden[:2]), split, seed, index)


def _sample_classes(rng: np.random.Generator, kind: str) -> list[str]:
    table = SCENE_KINDS[kind]
    while True:
        names = [name for name, probability in table.items() if rng.random() < probability]
        if rng.random() < STRANGER:
            strangers = [name for name in CLASSES if name not in table]
            names.append(strangers[rng.integers(len(strangers))])
        if MIN_CLASSES <= len(names) <= MAX_CLASSES:
            return names


def _sample_counts(rng: np.random.Generator, names: list[str]) -> list[int]:
    counts = []
    spare = MAX_INSTANCES - len(names)
    for name in names:
        extra = 0
        if name in COUNTABLE and spare and rng.random() < 0.3:
            extra = min(spare, 1 + int(rng.random() < 0.35))
        spare -= extra
        counts.append(1 + extra)
    return counts


def _colour(rng: np.random.Generator, name: str) -> str:
    colours = CLASS_COLOURS[name]
    return colours[0] if rng.random() < 0.4 else colours[rng.integers(len(colours))]


def _box(rng: np.random.Generator, cell: tuple[int, int], side: float) -> Box:
    """A square box of this side in a cell, off its centre by a little, inside the picture."""
    size = round(side)
    slack = max(0.0, (CELL - size) / 2) + 4
    corner = []
    for step in (cell[1], cell[0]):
        centre = (step + 0.5) * CELL + rng.uniform(-slack, slack)
        corner.append(int(np.clip(round(centre - size / 2), 0, PICTURE_SIZE - size)))
    left, top = corner
    return left, top, left + size, top + size


def _place(rng: np.random.Generator, names: list[str], counts: list[int]) -> list[SceneObject]:
    """Give every instance a cell of its own; boxes of neighbours may overlap a little, those of the occluded a lot."""
    free = {(row, column) for row in range(GRID) for column in range(GRID)}
    cells_of: list[tuple[tuple[int, int], ...]] = []
    for name, count in zip(names, counts, strict=True):
        cells = []
        for _ in range(count):
            choices = sorted(free)
            weights = np.array([_height_weight(name, row) for row, _ in choices])
            cells.append(choices[rng.choice(len(choices), p=weights / weights.sum())])
            free.remove(cells[-1])
        cells_of.append(tuple(sorted(cells)))
    taken = {cell for cells in cells_of for cell in cells}
    objects = []
    for name, own in zip(names, cells_of, strict=True):
        draw = rng.random()
        look = "plain"
        if draw < SMALL:
            look = "small"
        elif draw < SMALL + PALE:
            look = "pale"
        elif draw < SMALL + PALE + OCCLUDED and len(own) == 1:
            look = "occluded"
        side = rng.uniform(40, 48) if look == "small" else rng.uniform(70, 82)
        boxes = [_box(rng, cell, side) for cell in own]
        if look == "occluded":
            boxes = [_pushed_behind(rng, boxes[0], own[0], taken)]
        mirrored = bool(rng.random() < 0.5)
        objects.append(SceneObject(name, _colour(rng, name), own, tuple(boxes), look, mirrored))
    return objects


def _height_weight(name: str, row: int) -> float:
    return (3.0, 1.5, 0.5)[row] if name in HIGH else (0.7, 1.3, 1.5)[row]


def _pushed_behind(rng: np.random.Generator, box: Box, cell: tuple[int, int], taken: set[tuple[int, int]]) -> Box:
    """The box moved by about a third of its side towards a taken neighbour cell (unmoved where there is none)."""
    steps = [step for step in ((0, 1), (0, -1), (1, 0), (-1, 0)) if (cell[0] + step[0], cell[1] + step[1]) in taken]
    if not steps:
        return box
    down, right = steps[rng.integers(len(steps))]
    shift = int(rng.integers(26, 36))
    return box[0] + right * shift, box[1] + down * shift, box[2] + right * shift, box[3] + down * shift
