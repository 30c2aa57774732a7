"""Counts per image: what a benchmark's figures are ratios of, kept apart so that images can be drawn again.

Every figure of CHAIR, POPE, MME and AMBER is a function of sums over images. A `CountTable` holds the summands, one
row per image, and the functions; `bootstrap` redraws the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Totals = Mapping[str, np.ndarray]
Figure = Callable[[Totals], np.ndarray]


@dataclass(frozen=True)
class CountTable:
    """One row of counts per image.

    `images`: keys, distinct. `columns`: the names of the counts. `counts`: float64 `[len(images), len(columns)]`.
    `figures`: name -> function of the summed columns (each an array of any one shape; the result has it too).
    `strata`: optional, one label per image; images are then drawn anew within their stratum only.
    """

    images: tuple[Hashable, ...]
    columns: tuple[str, ...]
    counts: np.ndarray
    figures: Mapping[str, Figure]
    strata: tuple[Hashable, ...] | None = None
    _row: dict[Hashable, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_row", {image: row for row, image in enumerate(self.images)})

    def values(self) -> dict[str, float]:
        """Every figure of the images as they are; NaN where a denominator is zero."""
        return {name: float(value) for name, value in self.evaluate(self.counts.sum(axis=0)).items()}

    def evaluate(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """Every figure for summed counts `[..., len(columns)]`."""
        named = {column: totals[..., index] for index, column in enumerate(self.columns)}
        return {name: figure(named) for name, figure in self.figures.items()}

    def take(self, images: Sequence[Hashable]) -> CountTable:
        """The same table with only `images`, in their order."""
        rows = [self._row[image] for image in images]
        strata = None if self.strata is None else tuple(self.strata[row] for row in rows)
        return CountTable(tuple(images), self.columns, self.counts[rows], self.figures, strata)


def tabulate(
    rows: Iterable[tuple[Hashable, Mapping[str, float]]],
    columns: Sequence[str],
    figures: Mapping[str, Figure],
    stratum: Callable[[Hashable], Hashable] | None = None,
) -> CountTable:
    """A table from `(image, counts)` pairs; pairs of one image are added up, absent counts are 0."""
    images: dict[Hashable, np.ndarray] = {}
    for image, counts in rows:
        total = images.setdefault(image, np.zeros(len(columns)))
        total += [counts.get(column, 0.0) for column in columns]
    table = np.array(list(images.values())) if images else np.zeros((0, len(columns)))
    strata = None if stratum is None else tuple(map(stratum, images))
    return CountTable(tuple(images), tuple(columns), table, dict(figures), strata)


def ratio(numerator: np.ndarray | float, denominator: np.ndarray | float) -> np.ndarray:
    """`numerator / denominator`, NaN where the denominator is 0 (the official scorers stop with ZeroDivisionError)."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator != 0)


def f1(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Harmonic mean, in the order of operations of the official scripts; NaN where both are 0 or one is undefined."""
    return ratio(2 * precision * recall, precision + recall)
