"""`study detect --detector all`: every published detector on one label set, with the controls that papers leave out.

No word is judged by anything that has seen its picture: trained detectors, scales, class means, calibration, class
priors and the wording control are fitted on the other four fifths of the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from lvlm_saliency.detection.causal_risk import CausalRisk
from lvlm_saliency.detection.risk import OfRiskModel, Risk
from lvlm_saliency.detection.self_check import SelfCheck
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED
from lvlm_saliency.stats.calibration import Calibration
from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.detect.published import compare, fits
from lvlm_saliency.studies.detect.published.cost import Cost, measured
from lvlm_saliency.studies.detect.published.gather import Words, gather, words_of
from lvlm_saliency.studies.detect.published.judge import POOLED, Reached, labelled
from lvlm_saliency.studies.detect.published.kept import Fits
from lvlm_saliency.studies.detect.published.lost import Lost, lost_pairs
from lvlm_saliency.studies.detect.published.rows import AS_SHIPPED, Row, chosen, rows_of
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.page import Page


@dataclass(frozen=True)
class Results:
    """What the page is built from.

    Attributes:
        rows: of the table, in order.
        controls: names of the trivial rows.
        ways: of decoding.
        trained: those that are trained on.
        reached: by label, by (way or "pooled", first or all mentions).
        over: by label, AUROC over each control, position-matched or not, intervals that hold for all rows at once.
        places: by detector, AUROC at A less that at P.
        ours, ours_overall: by a row of ours and a published one of no higher cost class, AUROC of ours less the
            other's, within position and over all pairs, intervals that hold for all these pairs at once.
        lost: by row, where the pairs of equal position are lost.
        shipped: by shipped risk and way of decoding, its calibration as it stands.
        costs, transfers: the cost of each row; its figures on the texts of other ways of decoding.
        counts: of words, hallucinated words and pictures by (way, kind).
        several: whether any word has several tokens.
    """

    rows: Sequence[Row]
    controls: Sequence[str]
    ways: Sequence[str]
    trained: Sequence[str]
    reached: Mapping[str, Mapping[tuple[str, str], Reached]]
    over: Mapping[str, Mapping[str, Estimate]]
    places: Mapping[str, Estimate]
    ours: Mapping[tuple[str, str], Estimate]
    ours_overall: Mapping[tuple[str, str], Estimate]
    lost: Mapping[str, Lost]
    shipped: Mapping[str, Mapping[str, Calibration]]
    costs: Mapping[str, Cost]
    transfers: Sequence[compare.Transfer]
    counts: Mapping[tuple[str, str], tuple[int, int, int]]
    several: bool
    missing: Sequence[str] = field(default=())

    def main(self) -> list[Row]:
        """The rows of the main table that have scores."""
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
        if Risk.name in names and (reason := _unfit(lab, Risk())):
            names = [name for name in names if name != Risk.name]
            missing.append(f"{Risk.name}: {reason}")
        rows = rows_of(names, several)
        if CausalRisk.name in names:
            ships = CausalRisk()
            if reason := _unfit(lab, ships):
                missing.append(f"{AS_SHIPPED}: {reason}")
            else:
                rows.append(Row(AS_SHIPPED, ships, main=True))
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
            kept=lab.kept / "detectors" / "fits",
        )


def _unfit(lab: Lab, ships: OfRiskModel) -> str:
    """Why a risk that ships cannot read this model, empty where it can."""
    try:
        ships.risk_model().check(lab.model)
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
    kept: Path | None = None,
) -> Results:
    """All figures from the words' scores and features. kept: a folder for what is fitted, for the next run."""
    fitted = Fits(kept)
    folds = fits.Folds.of(words, seed)
    risks: dict[str, Mapping[str, np.ndarray]] = dict(fits.controls(words, trained, folds))
    left = list(missing)
    for row in rows:
        if not row.fits:
            risks[row.label] = {way: some.scores[row.label] for way, some in words.items()}
            continue
        found = fits.cross_fitted(row, words, trained, folds, seed, fitted)
        if found is None:
            left.append(f"{row.label}: too few hallucinated words to learn from")
        else:
            risks[row.label] = found
    samples = compare.samples_of(words, trained, resamples, seed)
    main = {*fits.CONTROLS, *(row.label for row in rows if row.main)}
    reached: dict[str, dict[tuple[str, str], Reached]] = {}
    for label, by_way in risks.items():
        shares = fits.calibrated(by_way, words, trained, folds)
        reached[label] = {
            key: sample.reach(labelled(by_way, ways, masks), labelled(shares, ways, masks))
            for key, (sample, ways, masks) in samples.items()
            if label in main or key == (POOLED, compare.FIRST)
        }
    sample, ways, masks = samples[POOLED, compare.FIRST]
    flat = {label: labelled(by_way, ways, masks) for label, by_way in risks.items()}
    labels = [row.label for row in rows if row.main and row.label in flat]
    over = compare.over(sample, flat, labels)
    return Results(
        rows=[row for row in rows if row.label in risks],
        controls=list(fits.CONTROLS),
        ways=list(words),
        trained=list(trained),
        reached=reached,
        over=over,
        places=compare.places(sample, flat, rows),
        ours=compare.ours(sample, flat, rows, sample.position),
        ours_overall=compare.ours(sample, flat, rows),
        lost={label: lost_pairs(flat[label], sample.y, sample.position, flat.get(SelfCheck.name)) for label in labels},
        shipped=compare.shipped(samples, risks, words),
        costs=costs,
        transfers=compare.transfers(rows, words, risks, trained, folds, samples, seed, fitted),
        counts={key: (len(one), int(one.y.sum()), len(np.unique(one.group))) for key, (one, _, _) in samples.items()},
        several=several,
        missing=left,
    )
