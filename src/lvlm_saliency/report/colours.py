"""The colour scale of words, the same in the terminal, the notebook and the plots (the page has it in its style sheet).

Pale to deep blue is ordered in lightness, so it survives every kind of colour blindness and a grey print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WEAK, STRONG = (238, 243, 248), (11, 79, 138)
RISKY = (166, 54, 3)
FALL, MADE_UP = (179, 38, 30), (163, 25, 91)
INK, PAPER = (28, 30, 33), (255, 255, 255)


@dataclass(frozen=True)
class Scale:
    """Scores to 0..1, logarithmic between `low` and `high` (the 4th and 96th percentile of one text)."""

    low: float
    high: float

    @classmethod
    def of(cls, scores: Sequence[float]) -> Scale:
        """The scale of one text; NaN and zero scores take no part."""
        known = sorted(score for score in scores if score > 0)
        if not known:
            return cls(math.nan, math.nan)
        last = len(known) - 1
        return cls(known[math.floor(0.04 * last + 0.5)], known[math.floor(0.96 * last + 0.5)])

    def share(self, score: float) -> float:
        """Where a score stands between weak (0) and strong (1); NaN gives 0."""
        if math.isnan(score) or math.isnan(self.low) or score <= self.low:
            return 0.0
        return min(math.log(score / self.low) / (math.log(self.high / self.low) or 1.0), 1.0)


def mix(share: float, strongest: tuple[int, int, int] = STRONG) -> tuple[int, int, int]:
    """Background of a word."""
    return tuple(round(weak + share * (strong - weak)) for weak, strong in zip(WEAK, strongest, strict=True))


def ink(share: float) -> tuple[int, int, int]:
    """Colour of the letters on that background."""
    return PAPER if share > 0.5 else INK


def css(colour: tuple[int, int, int]) -> str:
    """`#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
