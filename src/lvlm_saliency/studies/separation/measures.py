"""The measurements of `separation`: one plain row per figure, as in the data files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies import nested
from lvlm_saliency.studies.scores import Score
from lvlm_saliency.studies.separation.bins import Binned, binned, spearman, standardised_difference
from lvlm_saliency.studies.separation.words import SCORED, frequency, scores, strata
from lvlm_saliency.studies.tested import Tested
from lvlm_saliency.studies.tokens import MEASURES, TokenTable, layer_groups

BINS = {"deciles": 10, "quartiles": 4}


@dataclass
class Measured(Tested):
    """Object words of one kind (first mentions, repeated ones, all), and what is measured of them.

    Attributes:
        table: one row per word.
        everything: all tokens of the texts.
    """

    table: TokenTable
    everything: TokenTable
    resamples: int
    seed: int
    asked: int = field(default=0)

    def __post_init__(self) -> None:
        self._test(self.table.hallucinated, self.table.group, self.resamples, self.seed)

    @cached_property
    def scores(self) -> list[Score]:
        return scores(self.table)

    @cached_property
    def strata(self) -> dict[str, np.ndarray]:
        return strata(self.table, self.everything)

    def means(self) -> list[dict[str, Any]]:
        """Mean and deviation of each score for either kind of word, and how well it tells them apart."""
        rows = []
        for score in self.scores:
            parts = {"correct": score.values[~self.y], "hallucinated": score.values[self.y]}
            rows.append(
                {
                    "score": score.name,
                    **{f"mean_{kind}": float(np.mean(v)) if len(v) else float("nan") for kind, v in parts.items()},
                    **{f"sd_{kind}": stats.deviation(v) for kind, v in parts.items()},
                    "difference_in_sd": standardised_difference(score.values, self.y, self.resampler),
                    "auroc": self.area(score.name).estimate(),
                    "average_precision": self.resampler.estimate(stats.average_precision(score.risk, self.y)),
                    "spearman": spearman(score.values, self.y, self.resampler),
                }
            )
        return rows

    def controls(self) -> list[dict[str, Any]]:
        """Areas among words that are equal in something else."""
        return [
            {"score": score.name, "held_equal": held or "nothing", "auroc": self.area(score.name, held).estimate()}
            for score in self.scores
            for held in ("", *self.strata)
        ]

    def binned(self, name: str, bins: int) -> dict[str, Binned]:
        """Bins of a score, by kind."""
        score = self.score(name).values
        kinds = {f"{bins} of equal width": (bins, True)} | {kind: (count, False) for kind, count in BINS.items()}
        return {kind: binned(score, self.y, self.resampler, *how) for kind, how in kinds.items()}

    def by_layer(self) -> list[dict[str, Any]]:
        """Areas of saliency and attention layer by layer and in groups of layers, at any and at equal position."""
        single = {str(layer): [layer] for layer in self.table.layers}
        several = {name: layers for name, layers in layer_groups(self.table.layers).items() if len(layers) > 1}
        rows = []
        for kind, chosen in (("layer", single), ("layers", several)):
            for name, layers in chosen.items():
                for measure in MEASURES:
                    for region in SCORED:
                        risk = -self.table.score(region, measure, layers).astype(np.float64)
                        for held, groups in (("nothing", None), ("same position", self.table.position)):
                            self.asked += 1
                            area = self._areas.auroc(risk, groups).estimate()
                            place = {"kind": kind, "layers": name, "measure": measure, "region": region}
                            rows.append({**place, "held_equal": held, "auroc": area})
        return rows

    def nested(self) -> list[nested.Nested]:
        """What saliency and attention add to log-probability, without and with the confounders."""
        if not nested.can_compare(self.y, self.table.group):
            return []
        table, groups = self.table, layer_groups(self.table.layers)
        place = table.position.astype(np.float64)
        confounders = [table.entropy, place, np.log1p(place), table.length, np.log(frequency(table, self.everything))]
        bases = {
            "log-probability": table.logprob[:, None],
            "log-probability and confounders": np.column_stack([table.logprob, *confounders]),
        }
        read = {measure: [table.score(region, measure) for region in SCORED] for measure in MEASURES}
        layered = [table.score(region, layers=layers) for layers in groups.values() for region in SCORED]
        added = {
            "saliency: output": read["saliency"][0][:, None],
            "saliency: previous": read["saliency"][1][:, None],
            "saliency: all 4 regions": np.column_stack(read["saliency"]),
            f"saliency: all 4 regions, {len(groups)} groups of layers": np.column_stack(layered),
            "attention: all 4 regions": np.column_stack(read["attention"]),
        }
        words = nested.Words(self.y, self.resampler, self.seed)
        return [
            words.compare((base, name), bases[base].astype(np.float64), features.astype(np.float64))
            for base in bases
            for name, features in added.items()
        ]
