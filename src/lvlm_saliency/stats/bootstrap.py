"""Percentile bootstrap over images (Efron 1979), for one system and, paired, for the difference of two.

Drawing n images anew with replacement is the same as giving them multinomial weights, so a resample costs one row of
a matrix product: sums `[resamples, columns] = weights [resamples, images] @ counts [images, columns]`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from lvlm_saliency.errors import SettingError
from lvlm_saliency.files.records import Problems
from lvlm_saliency.stats.counts import CountTable

MIN_IMAGES = 10
"""Smallest number of images for a verdict: with fewer, there are too few different resamples for the interval's level
to hold."""
MIN_RESAMPLES = 40
"""Smallest number of resamples for an interval: of fewer, less than one lies in each tail of a 95 % interval."""
_BLOCK = 4_000_000  # weights held at once

Label = TypeVar("Label", bound=Hashable)


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn: `resamples` of the images (below `MIN_RESAMPLES`: no intervals), random `seed`,
    two-sided `level`."""

    resamples: int = 2000
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.resamples < 0:
            raise SettingError(f"resamples must be 0 or more, not {self.resamples}")
        if self.seed < 0:
            raise SettingError(f"a seed is 0 or more, not {self.seed}")
        if not 0 < self.level < 1:
            raise SettingError(f"the level of an interval lies between 0 and 1, not {self.level}")

    def intervals(self, table: CountTable) -> dict[str, list[float]]:
        """`{figure: [low, high]}`; both NaN where more than a few resamples leave the figure undefined."""
        (draws,) = self._draws(table)
        return {name: self._percentiles(draw) for name, draw in draws.items()}

    def differences(
        self, table: CountTable, other: CountTable, problems: Problems | None = None
    ) -> dict[str, dict[str, Any]]:
        """`{figure: {"difference", "interval"}}` of `table` minus `other`, both on the same redrawn images.

        Images are matched by key, whatever their order. An image that only one of them has is a problem ("unpaired"):
        `InputError`, or left out of both and counted.
        """
        if alone := len(set(table.images) ^ set(other.images)):
            message = f"the two systems were not scored on the same images: {alone} have only one of them"
            (problems or Problems()).report("unpaired", message, alone)
            known = set(other.images)
            table = table.take([image for image in table.images if image in known])
        return self.differences_of_all({"it": table}, other.take(table.images))["it"]

    def differences_of_all(
        self, tables: Mapping[Label, CountTable], other: CountTable
    ) -> dict[Label, dict[str, dict[str, Any]]]:
        """`differences` of each of `tables`, which list the images of `other`, from one set of redrawn images."""
        aligned = [table.take(other.images) for table in tables.values()]
        other_point = other.values()
        other_draws, *all_draws = self._draws(other, *aligned)
        found = {}
        for label, table, draws in zip(tables, aligned, all_draws, strict=True):
            point = table.values()
            found[label] = {
                name: {
                    "difference": point[name] - other_point[name],
                    "interval": self._percentiles(draws[name] - other_draws[name]),
                }
                for name in table.figures
                if name in other.figures
            }
        return found

    def settings(self, unit: str = "image") -> dict[str, Any]:
        """What a result says about its intervals."""
        return {**asdict(self), "method": "percentile", "unit": unit}

    def _draws(self, *tables: CountTable) -> list[dict[str, np.ndarray]]:
        """Every figure of every resample, the same resamples for all `tables` (which list the same images)."""
        if self.resamples < MIN_RESAMPLES or not tables[0].images:
            return [dict.fromkeys(table.figures, np.full(1, np.nan)) for table in tables]
        sums: list[list[np.ndarray]] = [[] for _ in tables]
        for weights in self._weights(tables[0]):
            for table, blocks in zip(tables, sums, strict=True):
                blocks.append(weights @ table.counts)
        return [table.evaluate(np.concatenate(blocks)) for table, blocks in zip(tables, sums, strict=True)]

    def _weights(self, table: CountTable) -> Iterator[np.ndarray]:
        """Blocks of weights `[some resamples, images]`."""
        generator = np.random.default_rng(self.seed)
        groups = _groups(table)
        done = 0
        while done < self.resamples:
            block = min(self.resamples - done, max(1, _BLOCK // len(table.images)))
            weights = np.zeros((block, len(table.images)))
            for members in groups:
                size = len(members)
                weights[:, members] = generator.multinomial(size, np.full(size, 1 / size), size=block)
            done += block
            yield weights

    def _percentiles(self, draws: np.ndarray) -> list[float]:
        if np.isnan(draws).mean() > (1 - self.level) / 2:
            return [float("nan"), float("nan")]
        tail = 100 * (1 - self.level) / 2
        low, high = np.nanpercentile(draws, [tail, 100 - tail])
        return [float(low), float(high)]


def _groups(table: CountTable) -> list[np.ndarray]:
    if table.strata is None:
        return [np.arange(len(table.images))]
    groups: dict[Any, list[int]] = {}
    for row, label in enumerate(table.strata):
        groups.setdefault(label, []).append(row)
    return [np.array(rows) for rows in groups.values()]
