"""LLaVA-1.5 and its kin: one square grid over the middle of the picture, or over the picture padded to a square."""

from __future__ import annotations

from dataclasses import dataclass

from lvlm_saliency.errors import InputError
from lvlm_saliency.model.layout.facts import Cursor, Facts, edge, known_edge
from lvlm_saliency.model.layout.tiles import Box, side_of, whole
from lvlm_saliency.model.towers import beside_patches, packs_pictures


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
    """As CLIP's image processor goes: pad to a square (if set), resize, centre crop, cut into patches. A tower that
    packs pictures of any shape (Pixtral) gets the whole picture instead, in as many patches as its size asks for."""
    if packs_pictures(facts.config) or type(facts.processor).__name__ == "PixtralProcessor":
        height, width = facts.row("image_sizes")
        vision = getattr(facts.config, "vision_config", None)
        patch = getattr(vision, "patch_size", None) or facts.patch_size()
        cursor.grid(height // patch, width // patch, whole(facts.width, facts.height), "full")
        return
    canvas = Canvas(facts.width, facts.height)
    settings = facts.processor.image_processor
    if getattr(settings, "do_pad", False):
        canvas.pad_to_square()
    if getattr(settings, "do_resize", True):
        size = settings.size
        shortest, across, down = edge(size, "shortest_edge"), edge(size, "width"), edge(size, "height")
        if shortest:
            canvas.resize_shortest(shortest)
        elif across and down:
            canvas.resize(across, down)
        else:
            raise InputError(f"an image processor with size {dict(size)} is not understood: expected an edge or two")
    if getattr(settings, "do_center_crop", False) and settings.crop_size:
        canvas.center_crop(known_edge(settings.crop_size, "width"), known_edge(settings.crop_size, "height"))

    patch = facts.patch_size()
    rows, cols = canvas.height // patch, canvas.width // patch
    first = _beside(facts, rows * cols, len(cursor.positions))
    if first < 0:  # the tower has no class token, and the selection drops the first patch in its place
        cursor.grid(1, cols - 1, canvas.picture_box(patch, 0, cols * patch, patch), "full")
        cursor.grid(rows - 1, cols, canvas.picture_box(0, patch, cols * patch, rows * patch), "full")
        return
    cursor.skip(first)  # the class token comes first
    # Patches are laid from the upper left corner; what is left over at the right and bottom is seen by none.
    cursor.grid(rows, cols, canvas.picture_box(0, 0, cols * patch, rows * patch), "full")


def padded_square(facts: Facts, cursor: Cursor) -> None:
    """DeepSeek-VL: the longer side resized to the encoder's, the picture centred on a square."""
    settings = facts.processor.image_processor
    side = known_edge(settings.size, "height")
    canvas, scale = Canvas(facts.width, facts.height), side / max(facts.width, facts.height)
    canvas.resize(*(max(round(length * scale), settings.min_size) for length in (facts.width, facts.height)))
    if getattr(settings, "do_pad", True):
        canvas.center_pad(side, side)
    tokens = facts.setting("num_image_tokens")
    cells = side_of(int(tokens)) if tokens else None
    if cells is None:
        raise InputError(f"the processor's num_image_tokens is {tokens}, not a square: the grid cannot be placed")
    cursor.grid(cells, cells, canvas.picture_box(0, 0, side, side), "full")


def _beside(facts: Facts, patches: int, tokens: int) -> int:
    """Tokens of a picture that stand for no patch; -1 where the first patch is dropped."""
    beside = beside_patches(getattr(facts.config, "vision_config", None))
    if beside is None:
        beside = int(facts.setting("num_additional_image_tokens", 0))
        # Older checkpoints do not write their class token down; how many tokens there are tells.
        if not beside and facts.setting("vision_feature_select_strategy", "default") == "default":
            beside = int(tokens % patches == 0)
    return beside - int(facts.setting("vision_feature_select_strategy", "default") == "default")
