"""A finished run of the guard and its controls, as figures that redraw the same pictures (for publish_guard.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lvlm_saliency.evaluation.folder import RunFolder
from lvlm_saliency.evaluation.scoring import count_table
from lvlm_saliency.evaluation.summary.content import RunData
from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.stats.counts import CountTable

BENCHMARK, CAPTIONS, STATEMENTS = "scenes-caption", "captions", "statements"
RESAMPLES = 4000
GUARD, ORACLE, RANDOM, POSITION = (
    "guard",
    "guard:verdicts=oracle",
    "guard:verdicts=random",
    "guard:verdicts=position",
)
SAMPLED, BEST = "sample+guard", "guard:action=best_of,verdicts=oracle"
BEAMS = r"guard:(?:recall_loss=([\d.]+),)?beams=5"
"""The labels of the guard over beams."""


@dataclass(frozen=True)
class Value:
    """A figure with its 95 % interval over pictures."""

    value: float
    low: float
    high: float

    def shown(self, digits: int = 1, scale: float = 100.0, sign: bool = False) -> str:
        form = f"{{:{'+' if sign else ''}.{digits}f}}"
        value, low, high = (form.format(one * scale).replace("-", "−") for one in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


class Measured:
    """One run, with figures, differences and ratios that redraw the same pictures."""

    def __init__(self, folder: Path):
        self.run = RunData(RunFolder(folder))
        self.scores = self.run.scores["benchmarks"][BENCHMARK]
        self.details = {label: self.run.detail(BENCHMARK, label) for label in self.run.labels}

    def table(self, label: str, part: str = CAPTIONS, pictures: int | None = None) -> CountTable:
        """The counts per picture; of the first pictures only, where so many are named."""
        found = count_table(self.details[label][part])
        images = sorted(found.images, key=str)
        return found.take(images if pictures is None else images[:pictures])

    @cached_property
    def weights(self) -> np.ndarray:
        """How often each picture is drawn, `[RESAMPLES, pictures]`."""
        count = len(self.table(GREEDY).images)
        return np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(float)

    def draws(self, table: CountTable, name: str) -> np.ndarray:
        """The figure as it is, then that of every resample."""
        sums = np.concatenate([table.counts.sum(axis=0)[None], self.weights[:, : len(table.images)] @ table.counts])
        return table.evaluate(sums)[name]

    def figure(self, label: str, name: str, part: str = CAPTIONS) -> Value:
        return _value(self.draws(self.table(label, part), name))

    def difference(self, label: str, other: str, name: str, part: str = CAPTIONS) -> Value:
        return _value(self.draws(self.table(label, part), name) - self.draws(self.table(other, part), name))

    def ratio(self, label: str, other: str, name: str, part: str = CAPTIONS) -> Value:
        return _value(self.draws(self.table(label, part), name) / self.draws(self.table(other, part), name))

    def gain(self, label: str, ceiling: str, name: str) -> Value:
        """The share of the ceiling's difference to greedy decoding that a system reaches."""
        base, own, most = (self.draws(self.table(one), name) for one in (GREEDY, label, ceiling))
        with np.errstate(divide="ignore", invalid="ignore"):
            return _value((own - base) / (most - base))

    def cost(self, label: str) -> Mapping[str, Any]:
        return self.run.cost(BENCHMARK, label)


def _value(draws: np.ndarray) -> Value:
    low, high = np.nanpercentile(draws[1:], [2.5, 97.5])
    return Value(float(draws[0]), float(low), float(high))
