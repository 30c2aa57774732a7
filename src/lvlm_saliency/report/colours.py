"""The colour scales of words: in the terminal, the notebook, the plots and, for light and dark screens, the page.

Letters have a contrast of at least `READABLE` on every background. Pale to deep blue is ordered by lightness, so it can
be read with every kind of colour blindness and in grey print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WEAK, STRONG = (238, 243, 248), (11, 79, 138)
RISKY = (166, 54, 3)
FALL, HALLUCINATED = (179, 38, 30), (163, 25, 91)
INK, PAPER = (28, 30, 33), (255, 255, 255)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
READABLE = 4.5
"""The least contrast of letters, as WCAG 2 asks of text (level AA)."""
STEPS = 101
Colour = tuple[int, int, int]
SCHEMES: dict[str, tuple[Colour, Colour]] = {"light": (INK, PAPER), "dark": ((233, 231, 226), (13, 17, 22))}
"""Preferred colours of letters on weak and on strong backgrounds."""
SCALES: dict[str, dict[str, tuple[Colour, Colour]]] = {
    "score": {"light": (WEAK, STRONG), "dark": ((34, 39, 45), (116, 184, 242))},
    "row": {"light": ((251, 243, 230), (201, 93, 0)), "dark": ((43, 38, 32), (255, 162, 74))},
    "risk": {"light": (WEAK, RISKY), "dark": ((34, 39, 45), (255, 133, 92))},
}
"""Weakest and strongest background of each colouring of the page."""


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


def mix(share: float, strongest: Colour = STRONG, weakest: Colour = WEAK) -> Colour:
    """Background of a word."""
    red, green, blue = (round(weak + share * (strong - weak)) for weak, strong in zip(weakest, strongest, strict=True))
    return red, green, blue


def ink(background: Colour, preferred: Sequence[Colour] = SCHEMES["light"]) -> Colour:
    """Colour of the letters on that background: the first of `preferred` that can be read, else black or white (one of
    the two always can)."""
    best = max(BLACK, WHITE, key=lambda colour: contrast(colour, background))
    return next((colour for colour in preferred if contrast(colour, background) >= READABLE), best)


def contrast(one: Colour, other: Colour) -> float:
    """Contrast ratio of WCAG 2, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2)."""
    shares = (channel / 255 for channel in colour)
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def palettes() -> dict[str, dict[str, list[list[str]]]]:
    """For the page: by colouring and scheme (light, dark) `STEPS` pairs of background and letters, weak to strong."""
    return {
        name: {
            scheme: [_pair(mix(step / (STEPS - 1), strong, weak), SCHEMES[scheme]) for step in range(STEPS)]
            for scheme, (weak, strong) in schemes.items()
        }
        for name, schemes in SCALES.items()
    }


def _pair(background: Colour, preferred: Sequence[Colour]) -> list[str]:
    return [css(background), css(ink(background, preferred))]


def css(colour: Colour) -> str:
    """`#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
