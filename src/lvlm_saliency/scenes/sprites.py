"""The drawings of the object classes, each a few outlined shapes on a square of 100 x 100 units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from PIL import Image, ImageDraw, ImageOps

Rgb = tuple[int, int, int]
SUPERSAMPLE = 3
OUTLINE: Rgb = (34, 34, 40)
METAL: Rgb = (190, 194, 200)
LEAF: Rgb = (60, 140, 64)
WOOD: Rgb = (120, 78, 44)


class Pen:
    """Draws outlined shapes in units of one hundredth of the sprite's side."""

    def __init__(self, side: int) -> None:
        self.image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.image)
        self._unit = side / 100
        self._width = max(1, round(3.2 * self._unit))

    def _scaled(self, points: Sequence[float]) -> list[float]:
        return [value * self._unit for value in points]

    def box(self, *corners: float, fill: Rgb | None, radius: float = 0) -> None:
        self._draw.rounded_rectangle(
            self._scaled(corners), radius * self._unit, fill=fill, outline=OUTLINE, width=self._width
        )

    def disc(self, *corners: float, fill: Rgb | None, width: float = 3.2) -> None:
        self._draw.ellipse(self._scaled(corners), fill=fill, outline=OUTLINE, width=round(width * self._unit))

    def shape(self, *points: float, fill: Rgb) -> None:
        self._draw.polygon(self._scaled(points), fill=fill, outline=OUTLINE, width=self._width)

    def line(self, *points: float, fill: Rgb = OUTLINE, width: float = 4) -> None:
        self._draw.line(self._scaled(points), fill=fill, width=max(1, round(width * self._unit)), joint="curve")

    def pie(self, *corners: float, start: float, end: float, fill: Rgb) -> None:
        self._draw.pieslice(self._scaled(corners), start, end, fill=fill, outline=OUTLINE, width=self._width)

    def arc(self, *corners: float, start: float, end: float, fill: Rgb = OUTLINE, width: float = 5) -> None:
        self._draw.arc(self._scaled(corners), start, end, fill=fill, width=max(1, round(width * self._unit)))


@lru_cache(maxsize=8192)
def sprite(name: str, colour: Rgb, side: int, mirrored: bool = False) -> Image.Image:
    """One class in one colour, RGBA, `side` x `side` pixels (shared: copy before changing it)."""
    pen = Pen(side * SUPERSAMPLE)
    _DRAWINGS[name](pen, colour)
    image = ImageOps.mirror(pen.image) if mirrored else pen.image
    return image.reduce(SUPERSAMPLE)


def _shade(colour: Rgb, factor: float = 0.65) -> Rgb:
    red, green, blue = colour
    return int(red * factor), int(green * factor), int(blue * factor)


def _light(colour: Rgb) -> Rgb:
    red, green, blue = ((channel + 255) // 2 for channel in colour)
    return red, green, blue


def _apple(pen: Pen, colour: Rgb) -> None:
    pen.disc(12, 26, 62, 96, fill=colour)
    pen.disc(38, 26, 88, 96, fill=colour)
    pen.disc(24, 30, 76, 92, fill=colour, width=0)
    pen.line(50, 32, 54, 8, width=6, fill=WOOD)
    pen.shape(54, 18, 70, 4, 86, 10, 70, 24, fill=LEAF)


def _ball(pen: Pen, colour: Rgb) -> None:
    pen.disc(8, 8, 92, 92, fill=colour)
    light = (255, 255, 255) if colour[0] + colour[1] + colour[2] < 700 else (90, 90, 200)
    pen.pie(8, 8, 92, 92, start=-120, end=-60, fill=light)
    pen.pie(8, 8, 92, 92, start=0, end=60, fill=light)
    pen.pie(8, 8, 92, 92, start=120, end=180, fill=light)
    pen.disc(40, 40, 60, 60, fill=colour)


def _bed(pen: Pen, colour: Rgb) -> None:
    pen.box(2, 18, 14, 92, fill=WOOD)
    pen.box(86, 40, 98, 92, fill=WOOD)
    pen.box(10, 52, 90, 80, fill=colour)
    pen.box(14, 38, 42, 58, fill=(255, 255, 255), radius=8)
    pen.box(42, 48, 90, 62, fill=_light(colour))


def _bicycle(pen: Pen, colour: Rgb) -> None:
    pen.disc(2, 46, 46, 90, fill=None, width=6)
    pen.disc(54, 46, 98, 90, fill=None, width=6)
    pen.line(24, 68, 38, 36, 68, 36, 48, 68, 24, 68, fill=colour, width=8)
    pen.line(48, 68, 36, 28, fill=colour, width=8)
    pen.line(76, 68, 66, 22, 80, 18, fill=colour, width=7)
    pen.line(28, 26, 46, 26, width=8)


def _bird(pen: Pen, colour: Rgb) -> None:
    pen.shape(2, 40, 30, 46, 24, 66, fill=_shade(colour))
    pen.disc(18, 34, 76, 78, fill=colour)
    pen.disc(58, 18, 90, 50, fill=colour)
    pen.shape(88, 28, 100, 36, 88, 42, fill=(244, 160, 30))
    pen.disc(72, 26, 80, 34, fill=(255, 255, 255), width=2)
    pen.shape(30, 46, 62, 44, 36, 16, fill=_shade(colour))
    pen.line(44, 78, 42, 94, width=4, fill=(200, 120, 30))
    pen.line(54, 78, 54, 94, width=4, fill=(200, 120, 30))


def _boat(pen: Pen, colour: Rgb) -> None:
    pen.line(48, 6, 48, 70, width=5, fill=WOOD)
    pen.shape(52, 8, 52, 60, 90, 60, fill=(252, 252, 252))
    pen.shape(44, 18, 44, 60, 14, 60, fill=(226, 232, 240))
    pen.shape(2, 66, 98, 66, 80, 94, 20, 94, fill=colour)


def _book(pen: Pen, colour: Rgb) -> None:
    pen.shape(4, 30, 50, 42, 50, 88, 4, 76, fill=colour)
    pen.shape(96, 30, 50, 42, 50, 88, 96, 76, fill=colour)
    pen.shape(10, 22, 50, 34, 50, 80, 10, 68, fill=(255, 252, 236))
    pen.shape(90, 22, 50, 34, 50, 80, 90, 68, fill=(255, 252, 236))
    for top in (34, 46, 58):
        pen.line(17, top, 42, top + 7, width=3, fill=(120, 120, 130))
        pen.line(83, top, 58, top + 7, width=3, fill=(120, 120, 130))


def _car(pen: Pen, colour: Rgb) -> None:
    pen.shape(20, 48, 32, 24, 68, 24, 82, 48, fill=colour)
    pen.shape(30, 46, 37, 31, 48, 31, 48, 46, fill=(200, 230, 246))
    pen.shape(53, 46, 53, 31, 64, 31, 72, 46, fill=(200, 230, 246))
    pen.box(2, 46, 98, 74, fill=colour, radius=8)
    pen.disc(14, 60, 40, 86, fill=OUTLINE)
    pen.disc(60, 60, 86, 86, fill=OUTLINE)
    pen.disc(21, 67, 33, 79, fill=METAL, width=0)
    pen.disc(67, 67, 79, 79, fill=METAL, width=0)
    pen.disc(90, 50, 98, 60, fill=(255, 240, 140), width=1)


def _cat(pen: Pen, colour: Rgb) -> None:
    pen.arc(56, 40, 98, 94, start=-90, end=100, fill=_shade(colour), width=9)
    pen.disc(24, 48, 76, 98, fill=colour)
    pen.shape(22, 34, 24, 4, 46, 20, fill=colour)
    pen.shape(78, 34, 76, 4, 54, 20, fill=colour)
    pen.disc(20, 14, 80, 60, fill=colour)
    eye = (120, 210, 80)
    pen.disc(32, 28, 44, 42, fill=eye, width=2)
    pen.disc(56, 28, 68, 42, fill=eye, width=2)
    pen.shape(45, 44, 55, 44, 50, 50, fill=(240, 140, 150))
    pen.line(8, 40, 32, 46, width=2)
    pen.line(92, 40, 68, 46, width=2)


def _chair(pen: Pen, colour: Rgb) -> None:
    pen.box(22, 4, 34, 96, fill=_shade(colour))
    pen.box(70, 56, 82, 96, fill=_shade(colour))
    pen.box(22, 6, 36, 56, fill=colour)
    pen.box(22, 48, 84, 62, fill=colour)


def _clock(pen: Pen, colour: Rgb) -> None:
    pen.disc(6, 6, 94, 94, fill=_shade(colour, 0.8), width=5)
    pen.disc(17, 17, 83, 83, fill=_light(colour), width=2)
    ink = OUTLINE if sum(colour) > 200 else (20, 20, 20)
    pen.line(50, 50, 50, 24, width=7, fill=ink)
    pen.line(50, 50, 68, 60, width=7, fill=ink)
    for corners in ((47, 17, 53, 23), (47, 77, 53, 83), (17, 47, 23, 53), (77, 47, 83, 53)):
        pen.disc(*corners, fill=ink, width=0)


def _cup(pen: Pen, colour: Rgb) -> None:
    pen.disc(60, 38, 96, 74, fill=None, width=9)
    pen.shape(12, 28, 76, 28, 70, 92, 18, 92, fill=colour)
    pen.disc(12, 20, 76, 38, fill=(110, 66, 36))
    pen.line(36, 16, 40, 8, 36, 0, width=3, fill=(150, 150, 156))
    pen.line(52, 16, 56, 8, 52, 0, width=3, fill=(150, 150, 156))


def _dog(pen: Pen, colour: Rgb) -> None:
    pen.line(14, 52, 4, 28, width=9, fill=_shade(colour))
    for left in (16, 30, 52, 64):
        pen.box(left, 66, left + 10, 96, fill=_shade(colour, 0.8))
    pen.box(10, 44, 76, 76, fill=colour, radius=14)
    pen.disc(56, 14, 94, 54, fill=colour)
    pen.box(82, 32, 100, 48, fill=_light(colour), radius=6)
    pen.shape(56, 18, 68, 16, 64, 50, 54, 46, fill=_shade(colour, 0.5))
    pen.disc(78, 24, 86, 32, fill=(255, 255, 255), width=2)


def _flower(pen: Pen, colour: Rgb) -> None:
    pen.line(50, 48, 50, 98, width=7, fill=LEAF)
    pen.shape(50, 88, 76, 66, 84, 80, fill=LEAF)
    pen.shape(50, 92, 24, 70, 16, 84, fill=LEAF)
    for left, top in ((34, 0), (60, 16), (52, 44), (16, 44), (8, 16)):
        pen.disc(left, top, left + 32, top + 32, fill=colour)
    pen.disc(36, 24, 64, 52, fill=(250, 200, 40) if colour[2] > 80 or colour[1] < 100 else (130, 70, 30))


def _kite(pen: Pen, colour: Rgb) -> None:
    pen.line(44, 66, 30, 80, 46, 88, 32, 99, width=4)
    pen.shape(26, 78, 38, 74, 38, 86, fill=_light(colour))
    pen.shape(50, 2, 84, 34, 46, 70, 16, 30, fill=colour)
    pen.shape(50, 2, 84, 34, 50, 32, fill=_light(colour))
    pen.shape(46, 70, 16, 30, 50, 32, fill=_light(colour))


def _lamp(pen: Pen, colour: Rgb) -> None:
    pen.line(50, 44, 50, 90, width=8, fill=(110, 110, 116))
    pen.box(26, 86, 74, 97, fill=(110, 110, 116), radius=4)
    pen.shape(34, 4, 66, 4, 92, 50, 8, 50, fill=colour)
    pen.disc(42, 48, 58, 62, fill=(255, 246, 180), width=2)


def _laptop(pen: Pen, colour: Rgb) -> None:
    pen.box(14, 14, 86, 68, fill=colour, radius=4)
    pen.box(21, 21, 79, 61, fill=(120, 200, 240))
    pen.shape(14, 68, 86, 68, 99, 88, 1, 88, fill=_light(colour))
    pen.line(20, 77, 80, 77, width=4, fill=(90, 90, 96))


def _plate(pen: Pen, colour: Rgb) -> None:
    pen.disc(2, 28, 98, 76, fill=colour)
    pen.disc(22, 38, 78, 66, fill=_shade(colour, 0.85))


def _pot(pen: Pen, colour: Rgb) -> None:
    pen.box(2, 44, 98, 56, fill=_shade(colour, 0.5), radius=4)
    pen.box(14, 36, 86, 90, fill=colour, radius=8)
    pen.box(10, 26, 90, 40, fill=METAL, radius=5)
    pen.disc(42, 12, 58, 28, fill=OUTLINE)


def _spoon(pen: Pen, colour: Rgb) -> None:
    pen.line(54, 46, 88, 94, width=16)
    pen.line(54, 46, 87, 92, width=9, fill=colour)
    pen.shape(12, 14, 28, 4, 48, 12, 60, 34, 58, 52, 42, 56, 22, 44, 12, 28, fill=colour)
    pen.line(22, 20, 34, 18, 46, 34, width=4, fill=_shade(colour, 0.8))


def _tree(pen: Pen, colour: Rgb) -> None:
    pen.box(42, 60, 58, 98, fill=WOOD)
    pen.disc(8, 26, 56, 72, fill=colour)
    pen.disc(44, 26, 92, 72, fill=colour)
    pen.disc(22, 2, 78, 56, fill=colour)
    pen.disc(28, 28, 72, 66, fill=colour, width=0)


def _umbrella(pen: Pen, colour: Rgb) -> None:
    pen.line(50, 10, 50, 88, width=5, fill=WOOD)
    pen.arc(50, 76, 70, 98, start=0, end=180, fill=WOOD, width=5)
    pen.pie(2, 6, 98, 102, start=180, end=360, fill=colour)
    pen.pie(30, 6, 70, 102, start=180, end=360, fill=_light(colour))


_DRAWINGS: dict[str, Callable[[Pen, Rgb], None]] = {
    "apple": _apple,
    "ball": _ball,
    "bed": _bed,
    "bicycle": _bicycle,
    "bird": _bird,
    "boat": _boat,
    "book": _book,
    "car": _car,
    "cat": _cat,
    "chair": _chair,
    "clock": _clock,
    "cup": _cup,
    "dog": _dog,
    "flower": _flower,
    "kite": _kite,
    "lamp": _lamp,
    "laptop": _laptop,
    "plate": _plate,
    "pot": _pot,
    "spoon": _spoon,
    "tree": _tree,
    "umbrella": _umbrella,
}
