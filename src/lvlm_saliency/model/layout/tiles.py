"""The layout of a picture's image tokens as grids with a box each, and heat maps over them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.short import shown, some

Box = tuple[float, float, float, float]
Kind = Literal["full", "tile", "thumbnail"]
KINDS = ("full", "tile", "thumbnail")


@dataclass(frozen=True)
class ImageTile:
    """One grid of image tokens.

    Attributes:
        positions: int64 `[rows, cols]`, absolute positions in the (left-padded, expanded) sequence.
        box: (left, top, right, bottom) in pixels of the original picture, the area that the grid spans in equal cells.
            It reaches past the picture where the family pads it to a shape; the cells are cut off at the edge.
        kind: "full" the picture as one grid, "tile" a finer part of it, "thumbnail" the whole picture beside tiles.
    """

    positions: np.ndarray
    box: Box
    kind: Kind

    def __repr__(self) -> str:
        return shown(self, kind=self.kind, positions=list(self.positions.shape), box=tuple(map(float, self.box)))

    def cell(self, row: int, col: int) -> Box:
        """The box of one token, not cut off."""
        rows, cols = self.positions.shape
        left, top, right, bottom = self.box
        width, height = (right - left) / cols, (bottom - top) / rows
        return left + col * width, top + row * height, left + (col + 1) * width, top + (row + 1) * height

    @property
    def cell_area(self) -> float:
        """Square pixels of the original picture that one token stands for."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top) / self.positions.size


@dataclass(frozen=True)
class ImageLayout:
    """All image tokens of one picture.

    Attributes:
        width: of the original picture, in pixels.
        height: of the original picture, in pixels.
        tiles: the grids, in the order of the sequence.
        extra: int64, image positions that stand for no part of the picture (ends of rows, class tokens).
    """

    width: int
    height: int
    tiles: tuple[ImageTile, ...]
    extra: np.ndarray

    def __repr__(self) -> str:
        return shown(self, width=self.width, height=self.height, tiles=some(self.tiles), extra=len(self.extra))

    @property
    def positions(self) -> np.ndarray:
        """Every position of this picture, ascending, int64."""
        return np.sort(np.concatenate([*(tile.positions.ravel() for tile in self.tiles), self.extra]))

    def moved(self, by: int) -> ImageLayout:
        """The same layout in a sequence whose first position is position `by` of the present one."""
        tiles = tuple(replace(tile, positions=tile.positions - by) for tile in self.tiles)
        return replace(self, tiles=tiles, extra=self.extra - by)

    def cells(self) -> Iterator[tuple[int, Box]]:
        """(position, box) of every token with a place, cut to the picture; those wholly in padding are left out."""
        for tile in self.tiles:
            for (row, col), position in np.ndenumerate(tile.positions):
                left, top, right, bottom = tile.cell(row, col)
                box = max(left, 0.0), max(top, 0.0), min(right, float(self.width)), min(bottom, float(self.height))
                if box[0] < box[2] and box[1] < box[3]:
                    yield int(position), box

    def heatmap(self, values: np.ndarray, size: tuple[int, int] | None = None, tiles: str = "auto") -> np.ndarray:
        """Spread one value per position over the picture.

        Args:
            values: `[N]` or `[N - 1]`, one number per position of the sequence (a row of a trace).
            size: (width, height) of the map; None for the picture's own.
            tiles: where grids overlap, "auto" takes the one with the smallest cells, the most local evidence; "all"
                averages them, each weighted equally at every pixel; a kind ("full", "tile", "thumbnail") uses only
                grids of that kind.

        Returns:
            float32 `[height, width]`: at each pixel the value of the token whose cell contains the pixel's centre, and
            0 where there is none (the margin that LLaVA-1.5 crops away).

        Raises:
            SettingError: an unknown `tiles`, a kind that this picture does not have, or too few values.
        """
        values = np.asarray(values, dtype=np.float32)
        if values.ndim != 1 or len(values) <= int(self.positions.max(initial=-1)):
            raise SettingError(
                f"values of shape {list(values.shape)} do not reach the last image position "
                f"{int(self.positions.max(initial=-1))}: pass one row over the whole sequence"
            )
        width, height = size or (self.width, self.height)
        if width < 1 or height < 1:
            raise SettingError(f"a heat map of {width} x {height} pixels is empty: ask for at least 1 x 1")
        total = np.zeros((height, width), np.float32)
        covered = np.zeros((height, width), np.float32)
        for tile in self._chosen(tiles):
            rows = _cells_at(height, self.height, tile.box[1], tile.box[3], tile.positions.shape[0])
            cols = _cells_at(width, self.width, tile.box[0], tile.box[2], tile.positions.shape[1])
            inside = np.ix_(rows >= 0, cols >= 0)
            spread = values[tile.positions][np.ix_(rows[rows >= 0], cols[cols >= 0])]
            if tiles == "all":
                total[inside] += spread
                covered[inside] += 1
            else:
                total[inside] = spread
        return total / np.maximum(covered, 1) if tiles == "all" else total

    def _chosen(self, tiles: str) -> list[ImageTile]:
        """The grids to draw, coarsest first, so that a finer one overwrites it."""
        if tiles not in (*KINDS, "auto", "all"):
            raise SettingError(f"unknown tiles {tiles!r}{did_you_mean(str(tiles), (*KINDS, 'auto', 'all'))}")
        chosen = [tile for tile in self.tiles if tiles in ("auto", "all", tile.kind)]
        if not chosen:
            kinds = sorted({tile.kind for tile in self.tiles})
            raise SettingError(f"this picture has no grid of kind {tiles!r}, only {', '.join(kinds)}")
        return sorted(chosen, key=lambda tile: -tile.cell_area)


def _cells_at(pixels: int, extent: float, start: float, end: float, cells: int) -> np.ndarray:
    """For each of `pixels` pixel centres along an axis of length `extent`: its cell in [start, end), or -1."""
    centres = (np.arange(pixels) + 0.5) * (extent / pixels)
    index = np.floor((centres - start) * (cells / (end - start))).astype(np.int64)
    return np.where((index >= 0) & (index < cells), index, -1)


def whole(width: int, height: int) -> Box:
    """The box of the picture itself."""
    return 0.0, 0.0, float(width), float(height)


def side_of(tokens: int) -> int | None:
    """The side of a square grid of that many tokens, or None where there is none."""
    side = math.isqrt(tokens)
    return side if side * side == tokens else None
