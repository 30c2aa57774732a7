"""`study detect --detector all`: every published detector on one label set, with the controls that papers leave out.

No word is judged by anything that has seen its picture: trained detectors, scales, class means, calibration, class
priors and the wording control are fitted on the other four fifths of the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED
from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.areas import Draws, simultaneous
from lvlm_saliency.studies.detect.published import fits
from lvlm_saliency.studies.detect.published.cost import Cost, measured
from lvlm_saliency.studies.detect.published.gather import Words, gather, words_of
from lvlm_saliency.studies.detect.published.judge import POOLED, Reached, Sample, labelled
from lvlm_saliency.studies.detect.published.rows import Row, chosen, rows_of
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.page import Page

FIRST, ALL = "first mentions", "all mentions"
OURS = "risk"


@dataclass(frozen=True)
class Transfer:
    """A score that was fitted or calibrated on one way of decoding and judged on another (first mentions)."""

    label: str
    trained: str
    tested: str
    auroc: Estimate
    ece: Estimate
    risk: float
    rate: float


@dataclass(frozen=True)
class Results:
    """What the page is built from.

    rows: of the table, in order; controls: names of the trivial rows; ways: of decoding; trained: those that are
    trained on; reached: by label, by (way or "pooled", first or all mentions); over: by label, AUROC over each control,
    position-matched or not, intervals that hold for all rows at once; places: by detector, AUROC at A less that at P;
    ours: by label, AUROC of the risk less that of the row, position-matched; costs; transfers; counts: of words,
    hallucinated words and pictures by (way, kind); several: whether any word has several tokens.
    """

    rows: Sequence[Row]
    controls: Sequence[str]
    ways: Sequence[str]
    trained: Sequence[str]
    reached: Mapping[str, Mapping[tuple[str, str], Reached]]
    over: Mapping[str, Mapping[str, Estimate]]
    places: Mapping[str, Estimate]
    ours: Mapping[str, Estimate]
    costs: Mapping[str, Cost]
    transfers: Sequence[Transfer]
    counts: Mapping[tuple[str, str], tuple[int, int, int]]
    several: bool
    missing: Sequence[str] = field(default=())

    def main(self) -> list[Row]:
        """The detectors as they are by default, those that have scores."""
        return [row for row in self.rows if row.main and row.label in self.reached]


@dataclass(frozen=True)
class Published:
    """names: "all", or detectors joined by +; method: a third way of decoding beside greedy and sampled, or "none"."""

    name: ClassVar[str] = "detectors"

    names: str = "all"
    method: str = "locore"

    def __post_init__(self) -> None:
        if not chosen(self.names):
            raise SettingError("detectors: names is empty; give all, or names joined by +")

    def run(self, lab: Lab) -> Page:
        from lvlm_saliency.studies.detect.published.page import page

        return page(lab, self.measure(lab))

    def measure(self, lab: Lab) -> Results:
        """All figures.

        Raises:
            InputError: too few pictures with hallucinated words.
        """
        ways = [GREEDY] if lab.from_file else [GREEDY, SAMPLED, *([self.method] if self.method != "none" else [])]
        extra = [way for way in ways if way not in (GREEDY, SAMPLED)]
        texts = {way: lab.texts(way, among=extra) for way in ways}
        several = any(one.end - one.start > 1 for some in texts.values() for words in words_of(some) for one in words)
        names = chosen(self.names)
        missing = []
        if OURS in names and (reason := _unfit(lab)):
            names = [name for name in names if name != OURS]
            missing.append(f"{OURS}: {reason}")
        rows = rows_of(names, several)
        words = {way: gather(lab, way, rows, extra) for way in ways}
        trained = [way for way in (GREEDY, SAMPLED) if way in ways]
        return judged(
            rows,
            words,
            trained,
            lab.settings.resamples,
            lab.settings.seed,
            costs=measured(lab, texts[GREEDY], [row for row in rows if row.main]),
            several=several,
            missing=missing,
        )


def _unfit(lab: Lab) -> str:
    """Why the risk that ships cannot read this model, empty where it can."""
    from lvlm_saliency.risk.model import SHIPPED, RiskModel

    try:
        RiskModel.load(SHIPPED).check(lab.model)
    except InputError as error:
        return str(error)
    return ""


def judged(
    rows: Sequence[Row],
    words: Mapping[str, Words],
    trained: Sequence[str],
    resamples: int,
    seed: int,
    *,
    costs: Mapping[str, Cost],
    several: bool = False,
    missing: Sequence[str] = (),
) -> Results:
    """All figures from the words' scores and features."""
    folds = fits.Folds.of(words, seed)
    risks: dict[str, Mapping[str, np.ndarray]] = dict(fits.controls(words, trained, folds))
    left = list(missing)
    for row in rows:
        if not row.fits:
            risks[row.label] = {way: some.scores[row.label] for way, some in words.items()}
            continue
        found = fits.cross_fitted(row, words, trained, folds, seed)
        if found is None:
            left.append(f"{row.label}: too few hallucinated words to learn from")
        else:
            risks[row.label] = found
    samples = _samples(words, trained, resamples, seed)
    main = {*fits.CONTROLS, *(row.label for row in rows if row.main)}
    reached: dict[str, dict[tuple[str, str], Reached]] = {}
    for label, by_way in risks.items():
        shares = fits.calibrated(by_way, words, trained, folds)
        reached[label] = {
            key: sample.reach(labelled(by_way, ways, masks), labelled(shares, ways, masks))
            for key, (sample, ways, masks) in samples.items()
            if label in main or key == (POOLED, FIRST)
        }
    sample, ways, masks = samples[POOLED, FIRST]
    flat = {label: labelled(by_way, ways, masks) for label, by_way in risks.items()}
    labels = [row.label for row in rows if row.main and row.label in flat]
    over = _over(sample, flat, labels)
    return Results(
        rows=[row for row in rows if row.label in risks],
        controls=list(fits.CONTROLS),
        ways=list(words),
        trained=list(trained),
        reached=reached,
        over=over,
        places=_places(sample, flat, rows),
        ours=_ours(sample, flat, labels),
        costs=costs,
        transfers=_transfers(rows, words, risks, trained, folds, samples, seed),
        counts={key: (len(one), int(one.y.sum()), len(np.unique(one.group))) for key, (one, _, _) in samples.items()},
        several=several,
        missing=left,
    )


Samples = dict[tuple[str, str], tuple[Sample, list[str], list[np.ndarray]]]


def _samples(words: Mapping[str, Words], trained: Sequence[str], resamples: int, seed: int) -> Samples:
    """The words by (way of decoding or "pooled", first or all mentions)."""
    found: Samples = {}
    for kind in (FIRST, ALL):
        for key, ways in [*((way, [way]) for way in words), (POOLED, list(trained))]:
            parts = [words[way] for way in ways]
            masks = [part.first if kind == FIRST else np.ones(len(part), dtype=bool) for part in parts]
            found[key, kind] = Sample.of(parts, masks, resamples, seed), list(ways), masks
    return found


def _over(sample: Sample, flat: Mapping[str, np.ndarray], labels: Sequence[str]) -> dict[str, dict[str, Estimate]]:
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


def _places(sample: Sample, flat: Mapping[str, np.ndarray], rows: Sequence[Row]) -> dict[str, Estimate]:
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


def _ours(sample: Sample, flat: Mapping[str, np.ndarray], labels: Sequence[str]) -> dict[str, Estimate]:
    """Position-matched AUROC of the risk less that of every other row, intervals for all at once."""
    if OURS not in flat:
        return {}
    others = [label for label in labels if label != OURS]
    return simultaneous({label: sample.gain(flat[OURS], flat[label], sample.position) for label in others})


def _transfers(
    rows: Sequence[Row],
    words: Mapping[str, Words],
    risks: Mapping[str, Mapping[str, np.ndarray]],
    trained: Sequence[str],
    folds: fits.Folds,
    samples: Samples,
    seed: int,
) -> list[Transfer]:
    """Every default row, fitted and calibrated on one way of decoding (pictures apart), tested on each."""
    found = []
    for row in rows:
        if not row.main or row.label not in risks:
            continue
        for source in trained:
            own = risks[row.label] if not row.fits else fits.cross_fitted(row, words, [source], folds, seed)
            if own is None:
                continue
            shares = fits.calibrated(own, words, [source], folds)
            for tested in words:
                sample, _, masks = samples[tested, FIRST]
                risk, share = own[tested][masks[0]], shares[tested][masks[0]]
                one = sample.reach(risk, share)
                known = np.isfinite(share)
                found.append(
                    Transfer(
                        row.label,
                        source,
                        tested,
                        one.auroc.estimate(),
                        one.ece,
                        float(share[known].mean()) if known.any() else float("nan"),
                        float(sample.y[known].mean()) if known.any() else float("nan"),
                    )
                )
    return found
