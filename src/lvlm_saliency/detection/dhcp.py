"""DHCP-like: a perceptron on the whole attention of a word over the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Needs
from lvlm_saliency.detection.fitted import Cases, Trained, perceptron
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class DHCP(Trained):
    """A perceptron (128 hidden units) on the attention of every layer and head over the picture, pooled to 8 x 8
    (`side`).

    DHCP itself is about yes/no answers: the mean over all answer tokens, unpooled, of pictures of one size. This is its
    idea for a word of a text: one row per word. Where a picture has several grids the first is read; several pictures
    have no one map, and so no score. Called DHCP-like in tables.

    Paper: DHCP, ACM MM 2025; code btzyd/DHCP@855794f.
    """

    name: ClassVar[str] = "dhcp"
    title: ClassVar[str] = "perceptron on attention maps (DHCP-like)"
    paper: ClassVar[str] = "DHCP, ACM MM 2025"
    wholly: ClassVar[bool] = True

    side: int = 8
    epochs: int = 40

    def needs(self, depth: Depth) -> Needs:
        return Needs(attention=frozenset(depth.attention), heads=True, tiles=True)

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        row = self.row(self.token(mention))
        heads = np.concatenate([reading.headwise(layer, row)[:, reading.image] for layer in reading.depth.attention])
        if not reading.tiles or reading.pictures > 1:
            return np.full(len(heads) * self.side**2, np.nan)
        return np.concatenate([pooled(one[reading.tiles[0]], self.side).ravel() for one in heads])

    def learn(self, cases: Cases, seed: int) -> Any:
        return perceptron(cases.values, cases.y, seed, (128,), self.epochs)


def pooled(grid: np.ndarray, side: int) -> np.ndarray:
    """A map `[h, w]` on `[side, side]`, each cell the mean over its area (a coarser map is spread out)."""
    for _ in range(2):
        grid = _shrunk(grid, side).T
    return grid


def _shrunk(grid: np.ndarray, side: int) -> np.ndarray:
    """The first axis on `side` cells: means over intervals of equal length."""
    edges = np.linspace(0, len(grid), side + 1)
    total = np.concatenate([np.zeros((1, grid.shape[1])), np.cumsum(grid, axis=0)])
    low = np.minimum(edges.astype(int), len(grid) - 1)
    at = total[low] + (edges - low)[:, None] * grid[low]
    return np.diff(at, axis=0) / np.diff(edges)[:, None]
