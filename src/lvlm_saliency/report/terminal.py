"""Prints a text with every token coloured by its score; without colour, with bars under the words."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lvlm_saliency.model.cut_off import CUT, LEGEND

from ..plain_text import one_line, printable
from .chips import chips
from .colours import FALL, HALLUCINATED, STRONG, Scale, ink, mix
from .falls import ALPHA, WINDOW, falls

BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
DIGITS = "123456789"
CROSS = "\u2717"


@dataclass(frozen=True)
class Word:
    """A token as printed: spaces before it, its characters, its share of the scale (None: no score), its marks."""

    before: str
    text: str
    share: float | None
    fell: bool
    hallucinated: bool = False


def print_trace(
    console: Console,
    tokens: Sequence[str],
    scores: Sequence[float],
    *,
    label: str = "saliency on earlier words",
    hallucinated: Collection[int] = (),
    legend: bool = True,
    cut: bool = False,
) -> None:
    """Print `tokens` (which joined are the text) coloured by `scores` (NaN: no score), with a legend.

    Tokens that together make one character are printed as one (see `chips`). A red triangle stands before a token whose
    score drops (see `falls`). Where the console has no colour, such tokens are in brackets and a line of bars under
    each line of text shows the scores; where it has no Unicode, digits do.

    Args:
        console: where to print.
        tokens: the text of each token.
        scores: one per token.
        label: what the scores are.
        hallucinated: numbers of the tokens that are known to be hallucinated; a cross follows them.
        legend: whether to print a legend.
        cut: whether the limit on new tokens ended the text, which is then marked at its end.
    """
    scale = Scale.of(scores)
    print_words(console, list(_words(tokens, scores, scale, hallucinated)), cut=cut)
    if legend:
        _print_legend(console, scale, label, can_show(console, BARS))
        print_cut_legend(console, cut)


def print_cut_legend(console: Console, cut: bool) -> None:
    """Print what the mark at the end of a text that was cut off means, where there is one."""
    if cut:
        console.print(Text(LEGEND, style="dim"))


def print_words(
    console: Console, words: Sequence[Word], strongest: tuple[int, int, int] = STRONG, cut: bool = False
) -> None:
    """Print words on backgrounds up to the colour `strongest`, or with bars under them; `cut`: with the mark at the
    end."""
    words = [*words, Word(" ", CUT, None, False)] if cut else words
    unicode = can_show(console, BARS)
    if colourless(console):
        _print_bars(console, words, BARS if unicode else DIGITS)
    else:
        _print_colours(console, words, unicode, strongest)


def colourless(console: Console) -> bool:
    return console.color_system is None or console.no_color


def _words(
    tokens: Sequence[str], scores: Sequence[float], scale: Scale, hallucinated: Collection[int]
) -> Iterator[Word]:
    fell = falls(scores)
    for chip in chips(tokens):
        score = chip.mean(scores)
        share = None if math.isnan(score) else scale.share(score)
        yield word_of(chip.text, share, any(fell[t] for t in chip.tokens), any(t in hallucinated for t in chip.tokens))


def word_of(token: str, share: float | None, fell: bool = False, hallucinated: bool = False) -> Word:
    """A token as it is printed."""
    core = token.strip()
    before = token[: len(token) - len(token.lstrip())] if core else token
    # Control characters in a model's text must not reach the user's terminal.
    return Word(printable(before), one_line(core), share, fell, hallucinated)


def _print_colours(console: Console, words: Sequence[Word], unicode: bool, strongest: tuple[int, int, int]) -> None:
    line = Text()
    for word in words:
        line.append(word.before)
        if word.fell:
            line.append("\u25be" if unicode else "!", style=style(FALL) + " bold")
        if word.share is None:
            line.append(word.text)
        else:
            ground = mix(word.share, strongest)
            line.append(word.text, style=f"{style(ink(ground))} on {style(ground)}")
        if word.hallucinated:
            line.append(CROSS if unicode else "(x)", style=style(HALLUCINATED) + " bold")
    console.print(line, soft_wrap=False)


def _print_bars(console: Console, words: Sequence[Word], levels: str) -> None:
    text, bars = "", ""
    for word in words:
        shown = f"[{word.text}]" if word.fell else word.text
        shown += (CROSS if levels == BARS else "(x)") if word.hallucinated else ""
        newline = "\n" in word.before
        before = " " * len(word.before.replace("\n", "")) if text and not newline else ""
        if text and (newline or cell_len(text) + len(before) + cell_len(shown) > console.width):
            _print_pair(console, text, bars)
            text, bars, before = "", "", ""
        level = " " if word.share is None else levels[round(word.share * (len(levels) - 1))]
        text += before + shown
        bars += " " * len(before) + level * cell_len(shown)
    if text:
        _print_pair(console, text, bars)


def _print_pair(console: Console, text: str, bars: str) -> None:
    for line in (text, bars.rstrip()):
        console.print(Text(line), soft_wrap=True)


def _print_legend(console: Console, scale: Scale, label: str, unicode: bool) -> None:
    if math.isnan(scale.low):
        console.print(Text(f"{label}: no token has a score", style="dim"))
        return
    bounds = (f"{scale.low:.3g}", f"{scale.high:.3g}")
    rule = f"falls: below {ALPHA} x the mean of the {WINDOW} scores before"
    if colourless(console):
        levels = BARS if unicode else DIGITS
        console.print(Text(f"{label}: {levels[0]} {bounds[0]} .. {levels[-1]} {bounds[1]}; [word] {rule}"))
        return
    legend = Text(f"{label}: weak {bounds[0]} ", style="dim")
    for step in range(8):
        legend.append("  ", style=f"on {style(mix(step / 7))}")
    legend.append(f" strong {bounds[1]}   ", style="dim")
    legend.append("\u25be" if unicode else "!", style=style(FALL) + " bold")
    legend.append(f" {rule}", style="dim")
    console.print(legend)


def style(colour: tuple[int, int, int]) -> str:
    """As rich writes a colour."""
    return "rgb({},{},{})".format(*colour)


def can_show(console: Console, text: str) -> bool:
    """Whether the console's encoding has these characters."""
    try:
        text.encode(console.encoding)
    except UnicodeEncodeError:
        return False
    return True
