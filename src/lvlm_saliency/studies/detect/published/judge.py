"""What each row of the table reaches: areas, rates, calibration and coverage, with paired intervals over pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lvlm_saliency.stats import calibration, clusters
from lvlm_saliency.stats.clusters import Estimate, Resampler
from lvlm_saliency.studies.areas import Areas, Draws
from lvlm_saliency.studies.detect.published.gather import Words

POOLED = "pooled"
"""The ways of decoding that are trained on, together."""
NOTHING = Estimate(float("nan"), float("nan"), float("nan"), 0)


@dataclass(frozen=True)
class Reached:
    """What a score reaches on some words.

    Attributes:
        auroc, in_position, in_class: areas over all pairs, over words of equal position (and way of decoding), and of
            equal position and class.
        average_precision: area under the precision-recall curve.
        found: share of hallucinated words at a false positive rate of .05.
        alarms: false positive rate at which .95 of them are found.
        ece: expected calibration error after Platt's calibration on other pictures.
        coverage: share of words that have a score.
    """

    auroc: Draws
    in_position: Draws
    in_class: Draws
    average_precision: Estimate
    found: Estimate
    alarms: Estimate
    ece: Estimate
    coverage: float


@dataclass(frozen=True)
class Sample:
    """Words of one or several ways of decoding, ready to be judged on; the same seed pairs up all figures."""

    y: np.ndarray
    group: np.ndarray
    position: np.ndarray
    in_class: np.ndarray
    resamples: int
    seed: int

    @classmethod
    def of(cls, parts: Sequence[Words], rows: Sequence[np.ndarray], resamples: int, seed: int) -> Sample:
        """rows: which words of each part."""
        picture = np.concatenate([part.picture[row].astype(str) for part, row in zip(parts, rows, strict=True)])
        way = np.repeat(np.arange(len(parts)), [int(np.sum(row)) for row in rows])
        place = np.concatenate([part.position[row] for part, row in zip(parts, rows, strict=True)])
        name = np.concatenate([part.name[row].astype(str) for part, row in zip(parts, rows, strict=True)])
        position = place * len(parts) + way
        kinds = np.unique(name, return_inverse=True)[1]
        return cls(
            y=np.concatenate([part.y[row] for part, row in zip(parts, rows, strict=True)]),
            group=np.unique(picture, return_inverse=True)[1],
            position=position,
            in_class=position * (kinds.max(initial=0) + 1) + kinds,
            resamples=resamples,
            seed=seed,
        )

    def __len__(self) -> int:
        return len(self.y)

    def areas(self, rows: np.ndarray) -> Areas:
        """Areas over these words (bool `[N]`), redrawing all pictures, whether or not they have such a word: so
        figures over different rows still pair up."""
        return Areas(self.y[rows], self._redraws(rows))

    def _redraws(self, rows: np.ndarray) -> Resampler:
        return Resampler(self.group[rows], self.resamples, self.seed, int(self.group.max(initial=-1)) + 1)

    def reach(self, risk: np.ndarray, probability: np.ndarray | None = None) -> Reached:
        """What a risk `[N]` reaches; probability: the same calibrated."""
        rows = np.isfinite(risk)
        here, y = risk[rows], self.y[rows]
        coverage = float(rows.mean()) if len(rows) else float("nan")
        if not y.any() or y.all():
            empty = Draws(float("nan"), np.full(self.resamples, np.nan), len(y), False)
            return Reached(empty, empty, empty, NOTHING, NOTHING, NOTHING, NOTHING, coverage)
        areas, redraws = self.areas(rows), self._redraws(rows)
        error = NOTHING
        if probability is not None and np.isfinite(probability[rows]).all():
            chance = calibration.by_chance(probability[rows], self.seed)[1]
            error = calibration.error(redraws, probability[rows], y, chance)
        return Reached(
            auroc=areas.auroc(here),
            in_position=areas.auroc(here, self.position[rows]),
            in_class=areas.auroc(here, self.in_class[rows]),
            average_precision=redraws.estimate(clusters.average_precision(here, y)),
            found=redraws.estimate(clusters.positives_found(here, y, 0.05)),
            alarms=redraws.estimate(clusters.negatives_taken(here, y, 0.95)),
            ece=error,
            coverage=coverage,
        )

    def gain(self, risk: np.ndarray, over: np.ndarray, strata: np.ndarray | None = None) -> Draws:
        """AUROC of one risk less that of another, over the words that both score, on the same resamples."""
        rows = np.isfinite(risk) & np.isfinite(over)
        areas = self.areas(rows)
        own = None if strata is None else strata[rows]
        return areas.auroc(risk[rows], own) - areas.auroc(over[rows], own)


def labelled(risks: Mapping[str, np.ndarray], ways: Sequence[str], rows: Sequence[np.ndarray]) -> np.ndarray:
    """The risks of some words of several ways, one after the other."""
    return np.concatenate([risks[way][row] for way, row in zip(ways, rows, strict=True)])
