"""ADS: whether attention on the picture is concentrated in one place or dispersed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class ADS(Detector):
    """Mean over layers [.25 L, .75 L) of (1 - m) H. The head-averaged attention over the picture less its minimum,
    normalised, is a; m is the mass of a in connected groups (8 neighbours, 3 patches or more) of its top 10 %; H is the
    entropy of the other 90 %, renormalised, over log |I|. A flat map gives 1.

    mode="grid" uses the picture's real grids (tiles are not connected to one another). mode="official_code" factors |I|
    into the rectangle nearest to a square, as the released code does for every picture: wrong for grids such as Qwen's.
    Where the grids are not known, mode="grid" gives NaN. Over a background that is exactly flat the score is 0 even
    where the peaks are scattered (as in the code).

    Paper: CVPR 2026, arXiv 2604.04863; code tuandung2812alt3/token-grounding-detector@3025708.
    """

    name: ClassVar[str] = "ads"
    title: ClassVar[str] = "attention dispersion score"
    paper: ClassVar[str] = "arXiv 2604.04863"

    share: float = 0.1
    area: int = 3
    mode: str = "grid"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("mode", ("grid", "official_code"))

    def needs(self, depth: Depth) -> Needs:
        return Needs(attention=frozenset(depth.middle()), tiles=self.mode == "grid")

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        return float(np.mean(list(self.by_layer(reading, token).values())))

    def by_layer(self, reading: Reading, token: int, layers: Sequence[int] | None = None) -> dict[int, float]:
        """The dispersion in each layer."""
        layers = reading.depth.middle() if layers is None else layers
        tiles = self._tiles(reading)
        if tiles is None or not len(reading.image):
            return dict.fromkeys(layers, float("nan"))
        rows = {layer: reading.attended(layer, self.row(token)).mean(axis=0)[reading.image] for layer in layers}
        return {layer: dispersion(row, tiles, self.share, self.area) for layer, row in rows.items()}

    def _tiles(self, reading: Reading) -> Sequence[np.ndarray] | None:
        if self.mode == "grid":
            return reading.tiles
        height, width = rectangle(len(reading.image))
        return [np.arange(height * width).reshape(height, width)]

    def parts_of(self, reading: Reading, mention: Mention) -> dict[str, Any]:
        return {"layers": self.by_layer(reading, mention.start)}


def rectangle(count: int) -> tuple[int, int]:
    """The factors (height, width) of a number of patches that are nearest to each other, height the smaller."""
    height = next(one for one in range(int(count**0.5), 0, -1) if count % one == 0) if count else 0
    return height, count // height if height else 0


def dispersion(row: np.ndarray, tiles: Sequence[np.ndarray], share: float = 0.1, area: int = 3) -> float:
    """ADS of one attention map `[I]`; tiles: arrays `[height, width]` of indices into it."""
    count = len(row)
    mass = row.astype(np.float64) - row.min()
    total = mass.sum()
    if total <= 1e-12 or count < 2:
        return 1.0
    mass /= total
    taken = max(1, round(share * count))
    front = np.zeros(count, dtype=bool)
    front[np.argsort(-mass, kind="stable")[:taken]] = True
    rest = mass[~front]
    scale = rest.sum()
    rest = rest / scale if scale > 1e-12 else np.zeros(0)
    rest = rest[rest > 0]
    entropy = float(-(rest * np.log(rest)).sum() / np.log(count)) if len(rest) else 0.0
    return (1 - _in_groups(mass, front, tiles, area)) * entropy


def _in_groups(mass: np.ndarray, front: np.ndarray, tiles: Sequence[np.ndarray], area: int) -> float:
    """The mass in connected groups of the front patches, of `area` patches or more."""
    found = 0.0
    for tile in tiles:
        waiting = {(int(y), int(x)) for y, x in np.argwhere(front[tile])}
        while waiting:
            group, edge = [], [waiting.pop()]
            while edge:
                y, x = edge.pop()
                group.append((y, x))
                near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & waiting
                waiting -= near
                edge += near
            if len(group) >= area:
                found += sum(float(mass[tile[at]]) for at in group)
    return found
