"""What the study measures of the answers: one plain row per figure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies import nested
from lvlm_saliency.studies.areas import Areas
from lvlm_saliency.studies.factual.answers import Answers
from lvlm_saliency.studies.factual.asking import REGIONS
from lvlm_saliency.studies.scores import Score
from lvlm_saliency.studies.tested import Tested
from lvlm_saliency.studies.tokens import MEASURES

EQUAL = "same kind and position"
"""What the verdicts hold equal."""


@dataclass
class Measured(Tested):
    """The answers, with what every figure is computed from."""

    answers: Answers
    resamples: int
    seed: int
    asked: int = field(default=0)

    def __post_init__(self) -> None:
        self._test(self.answers.wrong, self.answers.subject, self.resamples, self.seed)

    @cached_property
    def scores(self) -> list[Score]:
        return self.answers.scores()

    @cached_property
    def strata(self) -> dict[str, np.ndarray]:
        """What is held equal, by name: int `[N]` each; only answers of one stratum are compared."""
        kind = np.unique(self.answers.kind.astype(str), return_inverse=True)[1]
        place, probable = self.answers.position, stats.quantile_bins(self.answers.logprob, 10)
        return {
            "same position": place,
            "same kind": kind,
            EQUAL: kind * (int(place.max(initial=0)) + 1) + place,
            "like probability": probable,
            "same kind, like probability": kind * 10 + probable,
        }

    def controls(self) -> list[dict[str, Any]]:
        """Means of right and wrong answers, and areas at large and among answers that are equal in something."""
        return [
            {
                "score": score.name,
                "mean_right": float(score.values[~self.y].mean()),
                "sd_right": stats.deviation(score.values[~self.y]),
                "mean_wrong": float(score.values[self.y].mean()),
                "sd_wrong": stats.deviation(score.values[self.y]),
                "held_equal": held or "nothing",
                "auroc": self.area(score.name, held).estimate(),
            }
            for score in self.scores
            for held in ("", *self.strata)
        ]

    def by_kind(self) -> list[dict[str, Any]]:
        """Each kind: how many are wrong, and the area of each score among its answers of equal position."""
        rows = []
        for kind in dict.fromkeys(self.answers.kind):
            own = np.flatnonzero(self.answers.kind == kind)
            areas = Areas(self.y[own], self.resampler.of(own))
            place = self.answers.position[own]
            self.asked += len(self.scores)
            rows.append(
                {
                    "kind": kind,
                    "answers": len(own),
                    "wrong": int(self.y[own].sum()),
                    "positions": f"{place.min()} to {place.max()}",
                    **{one.name: areas.auroc(one.risk[own], place).estimate() for one in self.scores},
                }
            )
        return rows

    def by_layer(self) -> list[dict[str, Any]]:
        """Areas of saliency and attention layer by layer, among answers of the same kind and position."""
        self.asked += len(self.answers.layers) * len(MEASURES) * len(REGIONS)
        return [
            {
                "layer": layer,
                "measure": measure,
                "region": region,
                "auroc": self._areas.auroc(-self.answers.score(measure, region, layer), self.strata[EQUAL]).estimate(),
            }
            for layer in self.answers.layers
            for measure in MEASURES
            for region in REGIONS
        ]

    def nested(self) -> list[nested.Nested]:
        """What saliency and attention add to log-probability, alone and beside entropy, position and kind."""
        if not nested.can_compare(self.y, self.resampler.groups):
            return []
        kinds = self.strata["same kind"]
        one_hot = (kinds[:, None] == np.unique(kinds)[1:]).astype(np.float64)
        of = {score.name: score.values for score in self.scores}
        likely = of["log-probability"]
        bases = {
            "log-probability": likely[:, None],
            "log-probability, entropy, position, kind": np.column_stack(
                [likely, of["entropy"], self.answers.position, one_hot]
            ),
        }
        added = {name: of[name][:, None] for name in ("saliency: output", "saliency: prompt")}
        added |= {
            f"{measure}: all {len(REGIONS)} regions": np.column_stack([of[f"{measure}: {one}"] for one in REGIONS])
            for measure in MEASURES
        }
        words = nested.Words(self.y, self.resampler, self.seed)
        return [words.compare((base, name), bases[base], new) for base in bases for name, new in added.items()]
