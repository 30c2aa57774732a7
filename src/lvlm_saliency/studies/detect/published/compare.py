"""Rows held against each other: over controls, at P and at A, ours over published ones, across ways of decoding.

Families of figures have intervals that hold for all of their members at once (`studies.areas.simultaneous`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lvlm_saliency.stats import calibration
from lvlm_saliency.stats.calibration import Calibration
from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.areas import Draws, simultaneous
from lvlm_saliency.studies.detect.published import fits
from lvlm_saliency.studies.detect.published.gather import Words
from lvlm_saliency.studies.detect.published.judge import POOLED, Sample
from lvlm_saliency.studies.detect.published.kept import Fits
from lvlm_saliency.studies.detect.published.rows import AS_SHIPPED, CLASSES, Row

FIRST, ALL = "first mentions", "all mentions"
SHIPPED = ("risk", AS_SHIPPED)
"""The rows of the risks that ship: they are fitted already, on pictures of their own."""


@dataclass(frozen=True)
class Transfer:
    """A score that was fitted or calibrated on one way of decoding and judged on another (first mentions).

    Attributes:
        ece: calibration error.
        by_chance: the bound that a perfectly calibrated risk would exceed once in twenty.
        risk, rate: mean risk, and share of hallucinated words.
    """

    label: str
    trained: str
    tested: str
    auroc: Estimate
    in_position: Estimate
    ece: Estimate
    by_chance: float
    risk: float
    rate: float


Samples = dict[tuple[str, str], tuple[Sample, list[str], list[np.ndarray]]]


def samples_of(words: Mapping[str, Words], trained: Sequence[str], resamples: int, seed: int) -> Samples:
    """The words by (way of decoding or "pooled", first or all mentions)."""
    found: Samples = {}
    for kind in (FIRST, ALL):
        for key, ways in [*((way, [way]) for way in words), (POOLED, list(trained))]:
            parts = [words[way] for way in ways]
            masks = [part.first if kind == FIRST else np.ones(len(part), dtype=bool) for part in parts]
            found[key, kind] = Sample.of(parts, masks, resamples, seed), list(ways), masks
    return found


def over(sample: Sample, flat: Mapping[str, np.ndarray], labels: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """By row, AUROC over each control (plain), and over chance among words of equal position ("in position"): intervals
    for all rows at once, family by family."""
    families: dict[str, dict[str, Draws]] = {
        control: {label: sample.gain(flat[label], flat[control]) for label in labels} for control in fits.CONTROLS
    }
    families["in position"] = {
        label: _less(sample.areas(np.isfinite(flat[label])).auroc(*_in_position(sample, flat[label])), 0.5)
        for label in labels
    }
    families["wording in position"] = {
        label: sample.gain(flat[label], flat["wording"], sample.position) for label in labels
    }
    together = {family: simultaneous(found) for family, found in families.items()}
    return {label: {family: found[label] for family, found in together.items()} for label in labels}


def _in_position(sample: Sample, risk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.isfinite(risk)
    return risk[rows], sample.position[rows]


def _less(one: Draws, value: float) -> Draws:
    return Draws(one.value - value, one.draws - value, one.n, one.enough)


def places(sample: Sample, flat: Mapping[str, np.ndarray], rows: Sequence[Row]) -> dict[str, Estimate]:
    """Where both were read: position-matched AUROC at the word less that at the state that predicts it."""
    found = {}
    for name in dict.fromkeys(row.name for row in rows):
        both = {
            place: label
            for row in rows
            if row.name == name and (label := row.label) in flat
            for place in ("P", "A")
            if row.detector.where == place and (row.main or label == f"{name} at {place}")
        }
        if len(both) == 2:
            found[name] = sample.gain(flat[both["A"]], flat[both["P"]], sample.position)
    return simultaneous(found)


def ours(
    sample: Sample, flat: Mapping[str, np.ndarray], rows: Sequence[Row], strata: np.ndarray | None = None
) -> dict[tuple[str, str], Estimate]:
    """AUROC (within `strata`) of every row of ours less that of every published one of no higher cost class, intervals
    for all pairs at once."""
    known = [row for row in rows if row.main and row.label in flat]
    pairs = [
        (one, other)
        for one in known
        for other in known
        if one.ours and not other.ours and CLASSES.index(other.cost) <= CLASSES.index(one.cost)
    ]
    return _named(
        pairs,
        simultaneous(
            {_pair(one, other): sample.gain(flat[one.label], flat[other.label], strata) for one, other in pairs}
        ),
    )


def _pair(one: Row, other: Row) -> str:
    return f"{one.label} over {other.label}"


def _named(pairs: Sequence[tuple[Row, Row]], found: Mapping[str, Estimate]) -> dict[tuple[str, str], Estimate]:
    return {(one.label, other.label): found[_pair(one, other)] for one, other in pairs}


def shipped(
    samples: Samples, risks: Mapping[str, Mapping[str, np.ndarray]], words: Mapping[str, Words]
) -> dict[str, dict[str, Calibration]]:
    """The calibration of each shipped risk by way of decoding, first mentions, nothing fitted here."""
    found: dict[str, dict[str, Calibration]] = {}
    for label in SHIPPED:
        for way in words if label in risks else ():
            sample, _, masks = samples[way, FIRST]
            risk = risks[label][way][masks[0]]
            rows = np.isfinite(risk)
            if rows.any():
                found.setdefault(label, {})[way] = calibration.judged(
                    risk[rows], sample.y[rows], sample.group[rows], sample.resamples, sample.seed
                )
    return found


def transfers(
    rows: Sequence[Row],
    words: Mapping[str, Words],
    risks: Mapping[str, Mapping[str, np.ndarray]],
    trained: Sequence[str],
    folds: fits.Folds,
    samples: Samples,
    seed: int,
    kept: Fits,
) -> list[Transfer]:
    """Every default row, fitted and calibrated on one way of decoding (pictures apart), tested on each."""
    found = []
    for row in rows:
        if not row.main or row.label not in risks:
            continue
        for source in trained:
            own = risks[row.label] if not row.fits else fits.cross_fitted(row, words, [source], folds, seed, kept)
            if own is None:
                continue
            shares = fits.calibrated(own, words, [source], folds)
            for tested in words:
                sample, _, masks = samples[tested, FIRST]
                risk, share = own[tested][masks[0]], shares[tested][masks[0]]
                found.append(_transfer(row.label, source, tested, sample, risk, share))
    return found


def _transfer(label: str, source: str, tested: str, sample: Sample, risk: np.ndarray, share: np.ndarray) -> Transfer:
    one, known, nan = sample.reach(risk, share), np.isfinite(share), float("nan")
    chance = calibration.by_chance(share[known], sample.seed)[1] if known.any() else nan
    means = (float(values[known].mean()) if known.any() else nan for values in (share, sample.y))
    areas = one.auroc.estimate(), one.in_position.estimate()
    return Transfer(label, source, tested, *areas, one.ece, chance, *means)
