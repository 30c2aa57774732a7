"""Study `detect`: a calibrated risk for every object word, how good it is, and what each signal adds to it.

Everything is chosen and fitted on training pictures; every figure is of held-out pictures that no fit has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.model import provenance
from lvlm_saliency.risk.fitting import ALL, FOLDS, TREES, Fitted, fit, pictures_of_each, plain, platt
from lvlm_saliency.risk.model import architecture
from lvlm_saliency.risk.signals import FREE, GRADIENT
from lvlm_saliency.stats import calibration
from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies.detect import page as detect_page
from lvlm_saliency.studies.detect import worth
from lvlm_saliency.studies.detect.mentions import Mentions, joined, numbered
from lvlm_saliency.studies.detect.names import AS_SAVED
from lvlm_saliency.studies.detect.split import firsts, split
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.page import Page

FILE = "risk.safetensors"


@dataclass(frozen=True)
class Transfer:
    """Trained on texts of one way of decoding, tested on those of another.

    Attributes:
        trained, tested: the ways of decoding.
        free, every: AUROC with the features of a trace, and with all features.
        risk, rate: mean risk, and share of hallucinated words.
    """

    trained: str
    tested: str
    free: stats.Estimate
    every: stats.Estimate
    risk: float
    rate: float


@dataclass(frozen=True)
class Results:
    """What the page is built from.

    Attributes:
        areas: by name of a score, AUROC and position-matched AUROC on held-out greedy texts.
        gains: by name, differences of position-matched AUROC.
        calibrated: by (calibration, way of decoding).
    """

    fitted: Fitted
    groups: list[str]
    areas: dict[str, tuple[stats.Estimate, stats.Estimate]]
    gains: dict[str, stats.Estimate]
    worths: list[worth.Worth]
    transfers: list[Transfer]
    calibrated: dict[tuple[str, str], calibration.Calibration]
    counts: dict[str, dict[str, int]]
    how: str


@dataclass(frozen=True)
class Detect:
    """train: drawn scenes to train on (other pictures are halved); method: a third way of decoding, for the test of
    transfer beside greedy decoding and sampling."""

    name: ClassVar[str] = "detect"

    train: int = 1000
    method: str = "locore"

    def __post_init__(self) -> None:
        if isinstance(self.train, bool) or not isinstance(self.train, int) or self.train < 10:
            raise SettingError(f"detect: train must be a whole number from 10, not {self.train!r}")

    def run(self, lab: Lab) -> Page:
        parts = split(lab, self.train, self.method)
        train, held = firsts(parts.train), firsts(parts.held)
        results = measured(lab, train, held, parts.how)
        described = self._about(lab, results)
        pooled = joined(list(train.values()))
        model = results.fitted.model
        finished = type(model)(**{**vars(model), "objects": np.unique(_tokens(parts.train)), "about": described})
        finished.save(lab.out / self.name / FILE)
        return detect_page.page(lab, results, pooled, held)

    def _about(self, lab: Lab, results: Results) -> dict[str, Any]:
        area, matched = results.areas["risk"]
        setup = lab.setup()
        return {
            "model": setup["model"],
            "architecture": architecture(lab.structure),
            "weights": lab.fingerprint,
            "labels": setup["labels"],
            "trained on": f"first mentions of objects in {' and '.join(results.counts['train'])} texts; {results.how}",
            "mentions": results.counts["train"],
            "classifier": str(results.fitted.candidate),
            "calibration": "a bent line" if len(results.fitted.model.bends) else "Platt's line",
            "held-out AUROC, greedy texts": str(area),
            "held-out AUROC, position-matched": str(matched),
            "seed": lab.settings.seed,
            "versions": provenance.versions(),
        }


def _tokens(parts: dict[str, Mentions]) -> np.ndarray:
    return np.concatenate([mentions.token for mentions in parts.values()]).astype(np.int64)


def measured(lab: Lab, train: dict[str, Mentions], held: dict[str, Mentions], how: str) -> Results:
    """All figures, from first mentions by way of decoding."""
    pooled, tested = joined(list(train.values())), held[GREEDY]
    both = joined([held[name] for name in train])
    groups = list(pooled.groups)
    free = [name for name in groups if name in FREE]
    chosen = lab.settings.resamples, lab.settings.seed
    judge, wide = worth.Judge(tested, *chosen), worth.Judge(both, *chosen)
    layers = pooled.layers
    kept = {"groups": tuple(free), "layers": tuple(layers)}
    fitted = fit(pooled.data(free), ALL, seed=lab.settings.seed, may_bend=True, **kept)

    scores = {
        "risk": fitted.model.log_odds(tested.matrix(free)),
        "-log p": -tested.groups["log-probability"][:, 0],
        "log p, entropy, position": worth.score(pooled, tested, ["log-probability", "entropy", "position"]),
        "risk without saliency": worth.score(pooled, tested, [name for name in free if name not in GRADIENT]),
        "risk as the word is drawn": worth.score(pooled, tested, [name for name in free if name != "words after"]),
        "all signals": worth.score(pooled, tested, groups),
        "wording alone (control)": worth.words_alone(pooled, tested),
    }
    if "self-check" in groups:
        scores["self-check alone"] = -tested.groups["self-check"][:, 0]
    trees = plain(pooled.data(free), TREES, seed=lab.settings.seed)
    scores["risk by boosted trees"] = trees.log_odds(tested.matrix(free))
    logistic = fit(pooled.data(free)).model
    scores["risk by logistic regression"] = logistic.log_odds(tested.matrix(free))
    gains = {
        "over -log p": judge.gain(scores["risk"], scores["-log p"]),
        "over wording": judge.gain(scores["risk"], scores["wording alone (control)"]),
        "all over risk": judge.gain(scores["all signals"], scores["risk by logistic regression"]),
    }
    without = worth.score(pooled, both, [name for name in free if name not in GRADIENT])
    gains["saliency, both"] = wide.gain(logistic.log_odds(both.matrix(free)), without)
    return Results(
        fitted=fitted,
        groups=groups,
        areas={name: (judge.area(one), judge.area(one, matched=True)) for name, one in scores.items()},
        gains=gains,
        worths=worth.worths(pooled, wide, groups, lab.listener),
        transfers=transfers(train, held, free, groups, chosen),
        calibrated=_calibrated(fitted, {name: held[name] for name in held}, free, pooled, chosen),
        counts={
            kind: {name: len(mentions) for name, mentions in some.items()}
            for kind, some in (("train", train), ("held", held))
        },
        how=how,
    )


def transfers(
    train: dict[str, Mentions],
    held: dict[str, Mentions],
    free: list[str],
    groups: list[str],
    chosen: tuple[int, int],
) -> list[Transfer]:
    """Logistic regression, trained on each way of decoding and on all, tested on every one; a way of decoding that
    hallucinates too rarely to learn from is tested on only. chosen: resamples and seed."""
    sources = dict(train)
    if len(train) > 1:
        sources[" and ".join(train)] = joined(list(train.values()))
    found = []
    for trained, mentions in sources.items():
        if min(pictures_of_each(mentions.y, mentions.picture)) < FOLDS:
            continue
        models = [fit(mentions.data(some)).model for some in (free, groups)]
        for tested, there in held.items():
            judge = worth.Judge(there, *chosen)
            risk = models[0].probability(there.matrix(free))
            of_trace, of_all = (
                judge.area(m.log_odds(there.matrix(some))) for m, some in zip(models, (free, groups), strict=True)
            )
            found.append(Transfer(trained, tested, of_trace, of_all, float(risk.mean()), float(there.y.mean())))
    return found


def _calibrated(
    fitted: Fitted, held: Any, free: Any, pooled: Any, chosen: Any
) -> dict[tuple[str, str], calibration.Calibration]:
    model, found = fitted.model, {}
    for tested, there in held.items():
        values = there.matrix(free)
        odds = model.log_odds(values)
        slope, offset = platt(fitted.out_of_fold, pooled.y)
        risks = {
            "none": 1 / (1 + np.exp(-odds)),
            "Platt": 1 / (1 + np.exp(-(slope * odds + offset))),
            AS_SAVED: model.probability(values),
            "isotonic": calibration.isotonic(fitted.out_of_fold, pooled.y, odds),
        }
        for kind, risk in risks.items():
            found[kind, tested] = calibration.judged(risk, there.y, numbered(there.picture), *chosen)
    return found
