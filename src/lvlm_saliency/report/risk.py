"""A text in the terminal, its object words coloured by the risk that they are hallucinated."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from .chips import chips
from .colours import RISKY, mix
from .terminal import BARS, DIGITS, can_show, colourless, print_cut_legend, print_words, style, word_of

LISTED = 5


def print_risk(console: Console, tokens: Sequence[str], risk: Sequence[float], cut: bool = False) -> None:
    """Print `tokens` (which joined are the text) coloured by `risk` (0 to 1; NaN: no object word, left plain).

    The scale is the same for every text, 0 to 1. Under it stand the legend and the words of the highest risk. Where the
    console has no colour, a line of bars under each line of text shows the risk. `cut` as in `print_trace`.
    """
    pieces = [(chip.text, chip.largest(risk)) for chip in chips(tokens)]
    shares = [None if math.isnan(value) else min(max(value, 0.0), 1.0) for _, value in pieces]
    print_words(console, [word_of(text, share) for (text, _), share in zip(pieces, shares, strict=True)], RISKY, cut)
    _print_legend(console)
    print_cut_legend(console, cut)
    known = sorted(((v, t) for t, v in enumerate(risk) if not math.isnan(v)), key=lambda pair: (-pair[0], pair[1]))
    if not known:
        console.print(Text("no word here is an object word that the risk model knows", style="dim"))
        return
    named = ", ".join(f"{word_of(tokens[at], None).text} {value:.0%} (token {at})" for value, at in known[:LISTED])
    console.print(Text(f"highest: {named}"))


def _print_legend(console: Console) -> None:
    label, rest = "risk that the object is not there:", "other words have none"
    if colourless(console):
        levels = BARS if can_show(console, BARS) else DIGITS
        console.print(Text(f"{label} {levels[0]} 0 % .. {levels[-1]} 100 %; {rest}"))
        return
    legend = Text(f"{label} 0 % ", style="dim")
    for step in range(8):
        legend.append("  ", style=f"on {style(mix(step / 7, RISKY))}")
    console.print(legend.append(f" 100 %   {rest}", style="dim"))
