"""The effect of weakening: figures of every arm, differences paired over pictures, and trends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies.decay.arms import Arm

FIGURES = ("CHAIR_s", "CHAIR_i", "recall", "length")
PAPER = {1.0: 0.356, 0.8: 0.379, 0.6: 0.421, 0.4: 0.478, 0.2: 0.560}
"""CHAIR_s by factor (the paper's decay experiment)."""
SPAN = 0.8
"""The range of 1 - r over which trends are reported (r = 1 to 0.2), as in the paper."""


@dataclass(frozen=True)
class Effects:
    """The effects of an experiment. All arms describe the same pictures, so that differences are paired.

    Attributes:
        base: the arm with r = 1.
        treated: arms with weaker attention to confident correct words.
        control: arms with weaker attention to other tokens.
        resamples: bootstrap resamples.
        seed: of the resamples.
    """

    base: Arm
    treated: Sequence[Arm]
    control: Sequence[Arm]
    resamples: int
    seed: int

    @cached_property
    def resampler(self) -> stats.Resampler:
        return stats.Resampler(np.arange(len(self.base.table.images)), self.resamples, self.seed)

    @property
    def arms(self) -> list[Arm]:
        return [self.base, *self.treated, *self.control]

    def level(self, arm: Arm, figure: str) -> stats.Estimate:
        return self.resampler.estimate(arm.figure(figure))

    def difference(self, arm: Arm, figure: str) -> stats.Estimate:
        """Arm minus base."""
        return self.resampler.difference(arm.figure(figure), self.base.figure(figure))

    def at_equal_length(self, arm: Arm, figure: str) -> stats.Estimate:
        """Arm minus base, both cut, picture by picture, to the shorter of the two texts."""
        return self.resampler.difference(arm.cut_like(self.base).figure(figure), self.base.cut_like(arm).figure(figure))

    def trend(self, figure: str) -> stats.Estimate:
        """Fitted rise of a figure from r = 1 to r = 0.2 (least squares over the arms of the treatment)."""
        return self.resampler.estimate(self._slope(figure, self.treated, [1 - a.strength.factor for a in self.treated]))

    def per_attention(
        self, figure: str, equal_length: bool = False
    ) -> tuple[stats.Estimate, stats.Estimate, stats.Estimate]:
        """Fitted rise per hundredth of attention taken away (a line through r = 1): treatment, control, and their
        difference. The control cannot always take away as much as the treatment; dividing by the amount really taken
        corrects for that."""
        treated, control = (self._per_attention(figure, arms, equal_length) for arms in (self.treated, self.control))
        known = self.resampler
        return known.estimate(treated), known.estimate(control), known.difference(treated, control)

    def _per_attention(self, figure: str, arms: Sequence[Arm], equal_length: bool) -> stats.Statistic:
        dose = np.array([100 * taken(arm) for arm in arms])
        share = dose / (dose**2).sum() if dose.any() else np.full_like(dose, np.nan)
        pairs = [
            (arm.cut_like(self.base), self.base.cut_like(arm)) if equal_length else (arm, self.base) for arm in arms
        ]
        told = [(one.figure(figure), other.figure(figure)) for one, other in pairs]
        return lambda weights: sum(
            w * (one(weights) - other(weights)) for w, (one, other) in zip(share, told, strict=True)
        )

    def _slope(self, figure: str, arms: Sequence[Arm], doses: Sequence[float]) -> stats.Statistic:
        dose = np.array([0.0, *doses])
        weight = dose - dose.mean()
        weight = weight / (weight**2).sum() if weight.any() else np.full_like(weight, np.nan)
        statistics = [self.base.figure(figure), *(arm.figure(figure) for arm in arms)]
        return lambda weights: SPAN * sum(w * s(weights) for w, s in zip(weight, statistics, strict=True))

    def rows(self) -> list[dict[str, Any]]:
        """Every arm with its figures and differences, plain."""
        return [
            {
                "factor": arm.strength.factor,
                "elsewhere": arm.strength.elsewhere,
                "n": len(arm.rows),
                "attention_taken": taken(arm),
                "of_the_target": matched(arm),
                "texts_changed": arm.changed(self.base),
                **{f"extra_{name}": value for name, value in arm.result.get("extra", {}).items()},
                **{
                    f"{figure}{suffix}": value
                    for figure in FIGURES
                    for kind, found in self._told(arm, figure).items()
                    for suffix, value in ((kind, found.value), (f"{kind}_low", found.low), (f"{kind}_high", found.high))
                },
            }
            for arm in self.arms
        ]

    def _told(self, arm: Arm, figure: str) -> dict[str, stats.Estimate]:
        return {"": self.level(arm, figure), "_difference": self.difference(arm, figure)}


def taken(arm: Arm) -> float:
    """Mean share of a row's attention that was taken, over heads, layers and the steps with something to take."""
    return arm.total("taken") / arm.total("attended") if arm.total("attended") else 0.0


def matched(arm: Arm) -> float:
    """What was taken over what the treatment would have taken from the same texts."""
    return arm.total("taken") / arm.total("wanted") if arm.total("wanted") else float("nan")
