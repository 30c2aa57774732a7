"""What tuning minimises, and the guard that keeps silence, brevity and broken sentences from winning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.evaluation.scoring import count_table
from lvlm_saliency.stats.counts import CountTable, f1

OBJECTIVES = {"chair_i": ("CHAIR_i", 1), "chair_s": ("CHAIR_s", 1), "f1": ("f1", -1)}
"""Name to (figure, sign): the signed figure is minimised."""


@dataclass(frozen=True)
class Measured:
    """One setting's captions of some pictures.

    Attributes:
        table: CHAIR's counts per picture, with `f1` among its figures.
        formed: share of well-formed captions, NaN where the benchmark cannot tell.
    """

    table: CountTable
    formed: float = float("nan")

    @property
    def pictures(self) -> int:
        return len(self.table.images)

    @property
    def figures(self) -> dict[str, float]:
        """CHAIR_s, CHAIR_i, recall, length (words), f1 and `well-formed`."""
        return self.table.values() | {"well-formed": self.formed}


def measured(results: Sequence[Mapping[str, Any]]) -> Measured:
    """From CHAIR results on different pictures, one after the other."""
    tables = [count_table(result) for result in results]
    first = tables[0]
    images = tuple(image for table in tables for image in table.images)
    counts = np.concatenate([table.counts for table in tables])
    joined = CountTable(images, first.columns, counts, {**first.figures, "f1": object_f1})
    formed = [result.get("extra", {}).get("well-formed", math.nan) for result in results]
    weighted = sum(share * len(table.images) for share, table in zip(formed, tables, strict=True))
    return Measured(joined, weighted / len(images))


def object_f1(total: Mapping[str, np.ndarray]) -> np.ndarray:
    """Harmonic mean of precision, 1 - CHAIR_i, and object recall; 0 where nothing right was named."""
    precision = 1 - replaced_ratio(total["hallucinated_mentions"], total["mentions"])
    recall = replaced_ratio(total["recalled_objects"], total["truth_objects"], 0.0)
    return np.nan_to_num(f1(precision, recall))


def replaced_ratio(part: np.ndarray, whole: np.ndarray, otherwise: float = 1.0) -> np.ndarray:
    """`part / whole`, `otherwise` where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(whole.shape, otherwise), where=whole != 0)


@dataclass(frozen=True)
class Objective:
    """The figure to better, among settings that stay within margins of greedy decoding on the same pictures.

    CHAIR alone rewards silence: who names nothing names nothing wrong, and CHAIR_s follows length. So a setting counts
    only when object recall is no lower than greedy's minus `recall_margin`, mean length differs from greedy's by no
    more than the share `length_margin`, and (where the benchmark can tell) the share of well-formed captions is no
    lower than greedy's minus `form_margin`. Among those outside the guard the one that oversteps least comes first,
    always behind all that are inside.

    name: "chair_i", "chair_s", or "f1" of precision (1 - CHAIR_i) and recall.
    """

    name: str = "chair_i"
    recall_margin: float = 0.02
    length_margin: float = 0.1
    form_margin: float = 0.02

    def __post_init__(self) -> None:
        if self.name not in OBJECTIVES:
            raise SettingError(f"tune: no objective {self.name!r}{did_you_mean(str(self.name), OBJECTIVES)}")
        for name in ("recall_margin", "length_margin", "form_margin"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
                raise SettingError(f"tune: {name} must be a number from 0 to 1, got {value!r}")

    @property
    def figure(self) -> str:
        return OBJECTIVES[self.name][0]

    @property
    def sign(self) -> int:
        """1 where less is better, -1 where more is."""
        return OBJECTIVES[self.name][1]

    def oversteps(self, one: Measured, greedy: Measured) -> dict[str, float]:
        """By how much each margin is overstepped: "recall", "length" (as a share), "well-formed"; empty inside."""
        mine, theirs = one.figures, greedy.figures
        ratio = mine["length"] / theirs["length"] if theirs["length"] else math.nan
        beyond = {
            "recall": theirs["recall"] - mine["recall"] - self.recall_margin,
            "length": abs(ratio - 1) - self.length_margin,
            "well-formed": theirs["well-formed"] - mine["well-formed"] - self.form_margin,
        }
        return {name: value for name, value in beyond.items() if value > 1e-12}

    def key(self, one: Measured, greedy: Measured) -> tuple[float, float]:
        """(how far outside the guard, the signed figure), smaller is better; an undefined figure comes last."""
        value = self.sign * one.figures[self.figure]
        return sum(self.oversteps(one, greedy).values()), math.inf if math.isnan(value) else value
