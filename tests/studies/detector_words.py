"""Rows of the comparison of detectors, and words whose scores were made up so that the right figures are known."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from lvlm_saliency.detection.registry import detector
from lvlm_saliency.studies.detect.mentions import NEAR
from lvlm_saliency.studies.detect.published.gather import Words
from lvlm_saliency.studies.detect.published.rows import Row


def row(name, label=None, **settings):
    one = detector(name, **settings)
    return Row(label or name, one, main=label is None, fits=one.fit == "trained" and name != "risk")


ROWS = [row("svar"), row("svar", "svar at A", where="A"), row("pas"), row("nll"), row("probe"), row("risk")]


def words(seed: int, pictures: int = 80, each: int = 6) -> Words:
    """Truth depends on `truth` and on position; svar reads truth at P and more of it at A, pas position alone, nll
    nothing, and a probe's features hold truth; a tenth of svar's scores is missing."""
    random = np.random.default_rng(seed)
    count = pictures * each
    place = np.tile(np.arange(each), pictures)
    truth = random.normal(size=count)
    y = random.random(count) < expit(2 * truth + 0.8 * place - 4)
    svar = truth + 1.5 * random.normal(size=count)
    svar[random.random(count) < 0.1] = np.nan
    features = random.normal(size=(count, 8))
    features[:, 2] += truth
    return Words(
        y=y,
        first=np.ones(count, bool),
        picture=np.repeat([f"p{i}" for i in range(pictures)], each).astype(object),
        name=np.array(["cat", "dog"], dtype=object)[random.integers(0, 2, count)],
        position=place,
        occurrence=np.ones(count, dtype=np.int64),
        total=np.ones(count, dtype=np.int64),
        wording=random.integers(5, 9, (count, len(NEAR))),
        tokens=np.ones(count, dtype=np.int64),
        scores={
            "svar": svar,
            "svar at A": truth + 0.3 * random.normal(size=count),
            "pas": place + 0.01 * random.normal(size=count),
            "nll": random.normal(size=count),
            "risk": expit(2 * truth + 0.8 * place - 4),
        },
        features={"probe": features},
    )
