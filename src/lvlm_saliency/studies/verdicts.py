"""Verdicts from intervals, by fixed rules for every model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS

if TYPE_CHECKING:
    from lvlm_saliency.studies.nested import Nested

MARGIN = 0.05
"""Areas under the ROC curve closer to 0.5 than this count as no separation."""
TRIFLE = 0.01
"""A gain below this share of the base's log-loss is too little to matter."""


def directional(found: Estimate, null: float = 0.5, margin: float = MARGIN) -> str:
    """For a claim that a figure lies above `null`: HOLDS when the interval does, FAILS when the interval ends below
    `null + margin` (the opposite, or nothing that matters), CANNOT_TELL otherwise, and without an interval."""
    if not _known(found):
        return CANNOT_TELL
    return HOLDS if found.low > null else FAILS if found.high < null + margin else CANNOT_TELL


def absent(found: list[Estimate], null: float = 0.5, margin: float = MARGIN) -> str:
    """For a claim that there is no effect: FAILS when some interval leaves `null` out and reaches beyond the margin,
    HOLDS when all stay within the margin, CANNOT_TELL otherwise."""
    if not all(map(_known, found)) or not found:
        return CANNOT_TELL
    within = [null - margin <= one.low and one.high <= null + margin for one in found]
    if any(one.excludes(null) and not inside for one, inside in zip(found, within, strict=True)):
        return FAILS
    return HOLDS if all(within) else CANNOT_TELL


def low_adds(found: Nested, *, low: str, high: str, nothing: str, unclear: str) -> tuple[str, str]:
    """For a claim that low values of what is added help beside the base: the verdict, and its sentence of the four.

    Args:
        found: the two models on rows of unseen groups.
        low: for HOLDS.
        high: for FAILS because it helps, but it is high values that go with the bad rows.
        nothing: for FAILS because it does not help.
        unclear: for CANNOT_TELL.
    """
    verdict = directional(found.gain, 0.0, TRIFLE * found.loss)
    if verdict == HOLDS:
        return (FAILS, high) if found.sign > 0 else (HOLDS, low)
    return verdict, nothing if verdict == FAILS else unclear


def _known(found: Estimate) -> bool:
    return not any(math.isnan(value) for value in (found.value, found.low, found.high))
