"""A text in the terminal, its words coloured by a detector's score."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from .chips import chips
from .colours import RISKY
from .terminal import print_cut_legend, print_words, word_of

LISTED = 5


def print_detector(
    console: Console, tokens: Sequence[str], scores: Sequence[float], name: str, cut: bool = False
) -> None:
    """Print `tokens` (which joined are the text) coloured by `scores` (higher: more likely hallucinated; NaN: none),
    from the lowest to the highest of this text, and the words of the highest. `cut` as in `print_trace`."""
    known = [value for value in scores if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    shares = [None if not math.isfinite(v) else (v - low) / (high - low or 1.0) for v in scores]
    pieces = [(chip.text, chip.largest([math.nan if s is None else s for s in shares])) for chip in chips(tokens)]
    words = [word_of(text, None if math.isnan(share) else share) for text, share in pieces]
    print_words(console, words, RISKY, cut)
    print_cut_legend(console, cut)
    if not known:
        console.print(Text(f"{name} has no score for any word here", style="dim"))
        return
    console.print(Text(f"{name}: {low:.3g} .. {high:.3g}, higher: more likely hallucinated", style="dim"))
    firsts = [at for at, v in enumerate(scores) if math.isfinite(v) and tokens[at].strip()]
    listed = sorted(firsts, key=lambda at: (-scores[at], at))[:LISTED]
    named = ", ".join(f"{word_of(tokens[at], None).text.strip()} {scores[at]:.3g} (token {at})" for at in listed)
    console.print(Text(f"highest: {named}"))
