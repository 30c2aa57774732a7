"""Saliency drops: the threshold tau of SGRS applied to a finished text, for display only."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, nan

ALPHA = 0.6
WINDOW = 5


def thresholds(scores: Sequence[float], alpha: float = ALPHA, window: int = WINDOW) -> list[float]:
    """For each token, `alpha` x the mean of the last `window` scores before it; NaN where there is none.

    Tokens without a score (NaN) have no threshold and do not count in later ones.
    """
    history: list[float] = []
    result = []
    for score in scores:
        recent = history[-window:]
        result.append(nan if isnan(score) or not recent else alpha * sum(recent) / len(recent))
        if not isnan(score):
            history.append(score)
    return result


def falls(scores: Sequence[float], alpha: float = ALPHA, window: int = WINDOW) -> list[bool]:
    """True for every token whose score lies below its threshold."""
    return [score < bound for score, bound in zip(scores, thresholds(scores, alpha, window), strict=True)]
