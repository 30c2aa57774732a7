"""Writing reference captions: several sentences in varied wording, each class introduced once, label noise included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lvlm_saliency.scenes import grammar
from lvlm_saliency.scenes.classes import PLURALS, article
from lvlm_saliency.scenes.world import Scene, SceneObject

_CAPTION = 1  # the purpose number of this module's generators

# How early an object is mentioned, before noise: objects that are hard to see come late.
_SALIENCE = {"plain": 1.0, "occluded": 0.8, "pale": 0.65, "small": 0.6}
_HIDDEN_SALIENCE = 0.7


def write_caption(scene: Scene, rng: np.random.Generator | None = None) -> str:
    """A reference caption of the scene, of about 42 words.

    It names every class in the picture and also the scene's `hidden` ones: reference captions are noisy on purpose.
    `rng` chooses the wording; without one the wording is the scene's own, always the same.
    """
    rng = scene.generator(_CAPTION) if rng is None else rng
    order = _mention_order(scene, rng)
    sentences = [_opening(rng, scene, order)]
    said = _introduced(order, sentences[0])
    waiting = order[len(said) :]
    while waiting:
        text, used = _body(rng, waiting, said)
        sentences.append(grammar.sentence(text))
        said, waiting = said + waiting[:used], waiting[used:]
    if rng.random() < 0.8:
        sentences.append(grammar.sentence(_pick(rng, grammar.CLOSINGS)))
    return " ".join(sentences)


def noun_phrase(item: SceneObject, rng: np.random.Generator, colour_rate: float = 0.75) -> str:
    """`a red cup`, `an orange`-coloured thing, or `two red cups`."""
    words = f"{item.colour} " if rng.random() < colour_rate else ""
    if item.count > 1:
        return f"{grammar.NUMBERS[item.count]} {words}{PLURALS[item.name]}"
    words += item.name
    return f"{article(words)} {words}"


def lies(item: SceneObject, anchor: SceneObject, one: int = 0, other: int = 0) -> set[str]:
    """Every relation in which instance `one` of the item stands to instance `other` of the anchor.

    "next to" when their places touch, at a corner too; else the longer of the two distances between their centres
    decides whether one is to the left of, to the right of, above or below the other.
    """
    (x, y), (anchor_x, anchor_y) = _centre(item, one), _centre(anchor, other)
    right, down = x - anchor_x, y - anchor_y
    if abs(right) >= abs(down):
        found = {"to the left of" if right < 0 else "to the right of"}
    else:
        found = {"above" if down < 0 else "below"}
    rows, columns = _steps(item, anchor, one, other)
    return found | {"next to"} if max(rows, columns) <= 1 else found


def relation(item: SceneObject, anchor: SceneObject, rng: np.random.Generator) -> str | None:
    """The position of the first (single) instance relative to the second, or None where it is not clear.

    On a diagonal a few pixels decide which of the two distances is the longer: there a caption says "next to" of
    neighbours and nothing of others.
    """
    rows, columns = _steps(item, anchor)
    if max(rows, columns) <= 1 and (rows == columns or rng.random() < 0.25):
        return "next to"
    if rows == columns:
        return None
    return next(iter(lies(item, anchor) - {"next to"}))


def _mention_order(scene: Scene, rng: np.random.Generator) -> list[SceneObject]:
    salience = [(_SALIENCE[item.look] + rng.normal(0, 0.25), item) for item in scene.objects]
    salience += [(_HIDDEN_SALIENCE + rng.normal(0, 0.25), item) for item in scene.hidden]
    return [item for _, item in sorted(salience, key=lambda pair: -pair[0])]


def _opening(rng: np.random.Generator, scene: Scene, order: list[SceneObject]) -> str:
    words = f"{_pick(rng, grammar.SCENE_ADJECTIVES)} {scene.kind}" if rng.random() < 0.35 else scene.kind
    tail = grammar.OPENING_TAILS[rng.choice(3, p=(0.5, 0.3, 0.2))]
    text = _pick(rng, grammar.OPENINGS).replace("{scene}", f"{article(words)} {words}") + tail
    return grammar.sentence(_fill(text, order, rng))


def _introduced(order: list[SceneObject], opening: str) -> list[SceneObject]:
    return order[: len(grammar.MENTION.findall(opening))]


def _body(rng: np.random.Generator, waiting: list[SceneObject], said: list[SceneObject]) -> tuple[str, int]:
    """The next sentence, unadorned, and how many of the waiting objects it introduces."""
    item = waiting[0]
    if len(waiting) > 1 and rng.random() < 0.08:
        return _fill(_pick(rng, grammar.PAIRS), waiting, rng), 2
    if item.count > 1:
        return _fill(_pick(rng, grammar.MANY), waiting, rng), 1
    anchors = [other for other in said if other.count == 1]
    draw = rng.random()
    if anchors and draw < 0.45:
        anchor = anchors[rng.integers(len(anchors))]
        how = relation(item, anchor, rng)
        if how is not None:
            text = _pick(rng, grammar.ONE_ANCHORED).replace("{anchor}", anchor.name)
            return _fill(text.replace("{relation}", how), waiting, rng), 1
    if draw < 0.92:
        text = _pick(rng, grammar.ONE_PLACED).replace("{place}", grammar.PLACES[item.cells[0]])
        return _fill(text, waiting, rng), 1
    return _fill(_pick(rng, grammar.ONE_LOOSE), waiting, rng), 1


def _fill(pattern: str, items: list[SceneObject], rng: np.random.Generator) -> str:
    """Put the next items into the pattern's noun slots, from left to right."""
    queue = iter(items)
    pieces = pattern.replace("{one}", "{any}").replace("{many}", "{any}").split("{any}")
    text = pieces[0]
    for piece in pieces[1:]:
        text += noun_phrase(next(queue), rng) + piece
    return text


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _centre(item: SceneObject, instance: int) -> tuple[float, float]:
    left, top, right, bottom = item.boxes[instance]
    return (left + right) / 2, (top + bottom) / 2


def _steps(item: SceneObject, anchor: SceneObject, one: int = 0, other: int = 0) -> tuple[int, int]:
    """Rows and columns of the grid of places between two instances."""
    (row, column), (anchor_row, anchor_column) = item.cells[one], anchor.cells[other]
    return abs(row - anchor_row), abs(column - anchor_column)
