"""LLaVA-1.5 and its kin: one square grid over the middle of the picture, or over the picture padded to a square."""

from __future__ import annotations

from dataclasses import dataclass

from lvlm_saliency.errors import InputError

from .facts import Cursor, Facts, edge
from .tiles import Box


@dataclass
class Canvas:
    """The picture on its way to the encoder: canvas pixel = picture pixel * scale + shift, along x and y."""

    width: int
    height: int
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)

    def pad_to_square(self) -> None:
        side = max(self.width, self.height)
        self._move((side - self.width) // 2, (side - self.height) // 2)
        self.width = self.height = side

    def resize(self, width: int, height: int) -> None:
        x, y = width / self.width, height / self.height
        self.scale = self.scale[0] * x, self.scale[1] * y
        self.shift = self.shift[0] * x, self.shift[1] * y
        self.width, self.height = width, height

    def resize_shortest(self, edge: int) -> None:
        longest = int(edge * max(self.width, self.height) / min(self.width, self.height))
        self.resize(*((edge, longest) if self.width <= self.height else (longest, edge)))

    def center_crop(self, width: int, height: int) -> None:
        """Cuts what is too large and centres what is too small, rounding as the image processors do."""
        self._move(*(-((have - want) // 2) for have, want in ((self.width, width), (self.height, height))))
        self.width, self.height = width, height

    def center_pad(self, width: int, height: int) -> None:
        """Centres the picture on a larger canvas; an odd pixel goes to the right and to the bottom."""
        self._move((width - self.width) // 2, (height - self.height) // 2)
        self.width, self.height = width, height

    def picture_box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """A box on the canvas, in pixels of the picture."""
        (x, y), (dx, dy) = self.scale, self.shift
        return (left - dx) / x, (top - dy) / y, (right - dx) / x, (bottom - dy) / y

    def _move(self, x: int, y: int) -> None:
        self.shift = self.shift[0] + x, self.shift[1] + y


def crop(facts: Facts, cursor: Cursor) -> None:
    """As CLIP's image processor goes: pad to a square (if set), resize, centre crop, cut into patches."""
    canvas = Canvas(facts.width, facts.height)
    settings = facts.processor.image_processor
    if getattr(settings, "do_pad", False):
        canvas.pad_to_square()
    if getattr(settings, "do_resize", True):
        size = settings.size
        shortest, width, height = edge(size, "shortest_edge"), edge(size, "width"), edge(size, "height")
        if shortest:
            canvas.resize_shortest(shortest)
        elif width and height:
            canvas.resize(width, height)
        else:
            raise InputError(f"an image processor with size {dict(size)} is not understood: expected an edge or two")
    if getattr(settings, "do_center_crop", False) and settings.crop_size:
        canvas.center_crop(edge(settings.crop_size, "width"), edge(settings.crop_size, "height"))

    patch = facts.patch_size()
    rows, cols = canvas.height // patch, canvas.width // patch
    if facts.setting("vision_feature_select_strategy", "default") == "full":
        cursor.skip(int(facts.setting("num_additional_image_tokens", 0)))  # the class token comes first
    # Patches are laid from the upper left corner; what is left over at the right and bottom is seen by none.
    cursor.grid(rows, cols, canvas.picture_box(0, 0, cols * patch, rows * patch), "full")
