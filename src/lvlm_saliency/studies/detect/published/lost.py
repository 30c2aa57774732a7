"""Where a score loses its pairs: how few words lose most, and what the model says when it is asked about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

AFFIRMED = -2.0
"""Log-odds of no over yes below which the model affirms an object: yes is at least seven times as likely."""


@dataclass(frozen=True)
class Lost:
    """Pairs of a hallucinated and a correct word of equal position that a score ranks the wrong way (ties half).

    Attributes:
        pairs, lost: how many there are, and are lost.
        words: hallucinated words.
        half, most: how many of these lose half and four fifths of what is lost.
        affirmed: hallucinated words that the model affirms when it is asked (`AFFIRMED`); None where it was not asked.
        of_affirmed: their share of the lost pairs; without: the position-matched AUROC without them.
    """

    pairs: int
    lost: float
    words: int
    half: int
    most: int
    affirmed: int | None
    of_affirmed: float
    without: float


def lost_pairs(risk: np.ndarray, y: np.ndarray, position: np.ndarray, answers: np.ndarray | None) -> Lost:
    """The pairs that a risk `[N]` loses; a word without a risk is in none.

    Args:
        y: bool `[N]`, hallucinated; position: int `[N]`, equal where words are compared; answers: log-odds of no over
            yes `[N]`, None where the model was not asked.
    """
    known = np.isfinite(risk)
    bad, good = np.flatnonzero(known & y), np.flatnonzero(known & ~y)
    pairs, lost = np.zeros(len(bad)), np.zeros(len(bad))
    for at, one in enumerate(bad):
        beside = risk[good[position[good] == position[one]]]
        pairs[at] = len(beside)
        lost[at] = (beside > risk[one]).sum() + (beside == risk[one]).sum() / 2
    total, nan = float(lost.sum()), float("nan")
    shares = np.cumsum(np.sort(lost)[::-1]) / total if total else np.ones(len(bad))
    half, most = (int(np.searchsorted(shares, share - 1e-12)) + 1 if total else 0 for share in (0.5, 0.8))
    affirmed, of_affirmed, without = None, nan, nan
    if answers is not None:
        told = answers[bad] < AFFIRMED
        affirmed = int(told.sum())
        of_affirmed = float(lost[told].sum() / total) if total else nan
        rest = pairs[~told].sum()
        without = float(1 - lost[~told].sum() / rest) if rest else nan
    return Lost(int(pairs.sum()), total, len(bad), half, most, affirmed, of_affirmed, without)
