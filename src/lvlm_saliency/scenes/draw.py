"""Painting scenes: a background for the kind of scene, then one sprite per instance, far and occluded ones first."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from lvlm_saliency.scenes.classes import COLOURS
from lvlm_saliency.scenes.sprites import sprite
from lvlm_saliency.scenes.world import GRID, PICTURE_SIZE, Scene, SceneObject

PALE_ALPHA = 0.32


def draw_scene(scene: Scene) -> Image.Image:
    """The scene as an RGB picture of 256 x 256 pixels; the same scene always gives the same pixels."""
    picture = background(scene.kind).copy()
    for item in drawing_order(scene):
        for box in item.boxes:
            stamp = _stamp(item, box)
            picture.paste(stamp, box[:2], stamp)
    return picture


def drawing_order(scene: Scene) -> list[SceneObject]:
    """Occluded objects first, so that what they were pushed behind covers them."""
    return sorted(scene.objects, key=lambda item: item.look != "occluded")


def label_maps(scene: Scene, classes: list[str], colours: list[str], cells: int = 8) -> np.ndarray:
    """Dense labels for pretraining a vision tower: per patch the instance that covers most of it.

    Returns uint8 [4, cells, cells]: class index + 1, colour index + 1, the place of the instance (3 row + column + 1 of
    the grid of places: not the patch's own), and how many of the class there are; 0 where under 6 % is covered.
    """
    owner = np.zeros((PICTURE_SIZE, PICTURE_SIZE), dtype=np.uint8)
    instances = [
        (item, box, cell) for item in drawing_order(scene) for box, cell in zip(item.boxes, item.cells, strict=True)
    ]
    for number, (item, box, _) in enumerate(instances, start=1):
        stamp = _stamp(item, box).getchannel("A").point(lambda alpha: 255 if alpha > 24 else 0)
        left, top, right, bottom = box
        region = owner[max(top, 0) : bottom, max(left, 0) : right]
        mask = np.asarray(stamp)[max(-top, 0) :, max(-left, 0) :][: region.shape[0], : region.shape[1]] > 0
        region[mask] = number
    side = PICTURE_SIZE // cells
    patches = owner.reshape(cells, side, cells, side).swapaxes(1, 2).reshape(cells, cells, -1)
    cover = np.stack([(patches == number).mean(-1) for number in range(1, len(instances) + 1)])
    values = [
        (classes.index(item.name) + 1, colours.index(item.colour) + 1, GRID * row + column + 1, item.count)
        for item, _, (row, column) in instances
    ]
    best = np.array(values, dtype=np.uint8)[cover.argmax(0)]
    return (best * (cover.max(0) >= 0.06)[..., None]).transpose(2, 0, 1)


def _stamp(item: SceneObject, box: tuple[int, int, int, int]) -> Image.Image:
    stamp = sprite(item.name, COLOURS[item.colour], box[2] - box[0], item.mirrored)
    if item.look == "pale":
        stamp = stamp.copy()
        stamp.putalpha(stamp.getchannel("A").point(lambda alpha: int(alpha * PALE_ALPHA)))
    return stamp


@lru_cache(maxsize=16)
def background(kind: str) -> Image.Image:
    """The empty background of a kind of scene (shared: copy before painting on it)."""
    picture = Image.new("RGB", (PICTURE_SIZE, PICTURE_SIZE), (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    _BACKGROUNDS[kind](pen)
    return picture


def _bands(pen: ImageDraw.ImageDraw, top: tuple[int, int, int], horizon: int, bottom: tuple[int, int, int]) -> None:
    pen.rectangle((0, 0, PICTURE_SIZE, horizon), fill=top)
    pen.rectangle((0, horizon, PICTURE_SIZE, PICTURE_SIZE), fill=bottom)


def _kitchen(pen: ImageDraw.ImageDraw) -> None:
    _bands(pen, (226, 236, 238), 150, (206, 188, 164))
    tile = (206, 220, 224)
    for edge in range(0, PICTURE_SIZE, 32):
        pen.line((edge, 0, edge, 146), fill=tile, width=2)
    for edge in range(0, 146, 32):
        pen.line((0, edge, PICTURE_SIZE, edge), fill=tile, width=2)
    pen.rectangle((0, 146, PICTURE_SIZE, 158), fill=(168, 146, 120))


def _bedroom(pen: ImageDraw.ImageDraw) -> None:
    _bands(pen, (236, 214, 222), 172, (196, 164, 150))
    for edge in range(16, PICTURE_SIZE, 48):
        pen.line((edge, 0, edge, 170), fill=(228, 202, 212), width=8)
    pen.rectangle((0, 170, PICTURE_SIZE, 176), fill=(250, 244, 240))


def _office(pen: ImageDraw.ImageDraw) -> None:
    _bands(pen, (214, 216, 226), 164, (150, 152, 166))
    pen.rectangle((150, 10, 246, 84), fill=(190, 220, 240), outline=(240, 240, 244), width=5)
    pen.line((198, 10, 198, 84), fill=(240, 240, 244), width=4)


def _park(pen: ImageDraw.ImageDraw) -> None:
    _bands(pen, (184, 222, 248), 110, (164, 214, 136))
    pen.ellipse((-60, 78, 130, 170), fill=(164, 214, 136))
    pen.polygon(((110, 256), (150, 256), (176, 112), (168, 112)), fill=(226, 210, 174))


def _street(pen: ImageDraw.ImageDraw) -> None:
    _bands(pen, (206, 214, 222), 130, (142, 142, 148))
    for left, top in ((0, 40), (54, 66), (110, 26), (176, 54), (226, 74)):
        pen.rectangle((left, top, left + 46, 118), fill=(186, 178, 178))
    pen.rectangle((0, 118, PICTURE_SIZE, 138), fill=(190, 190, 194))
    for left in range(6, PICTURE_SIZE, 52):
        pen.rectangle((left, 194, left + 28, 200), fill=(226, 222, 206))


def _beach(pen: ImageDraw.ImageDraw) -> None:
    _bands(pen, (196, 232, 250), 84, (240, 222, 176))
    pen.rectangle((0, 84, PICTURE_SIZE, 150), fill=(104, 188, 222))
    for left in range(0, PICTURE_SIZE, 32):
        pen.ellipse((left, 140, left + 36, 158), fill=(240, 222, 176))
    pen.ellipse((206, 8, 244, 46), fill=(255, 240, 170))


_BACKGROUNDS = {
    "kitchen": _kitchen,
    "bedroom": _bedroom,
    "office": _office,
    "park": _park,
    "street": _street,
    "beach": _beach,
}
KINDS = tuple(_BACKGROUNDS)
