"""Chips, the pieces in which a text is drawn: a token, or the tokens that together make one character.

A byte-level tokenizer cuts an emoji or a Chinese character into tokens of a byte or two, none of which can be shown.
Scores stay those of tokens; a chip shows their mean.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

JOINER = "\u200d"
_CONTINUING = (
    range(0x1F3FB, 0x1F400),  # skin colours
    range(0xE0020, 0xE0080),  # tags: the flags of England, Scotland and Wales
    range(0x1160, 0x1200),  # vowels and finals of a Korean syllable that is written by its parts
    range(0xD7B0, 0xD800),
    range(0x200C, 0x200D),  # keeps letters apart within a word
)
BROKEN = "\u00b7"
"""Shown for bytes that are not a character."""


@dataclass(frozen=True)
class Chip:
    """Tokens `[first, end)` that are drawn together; `text` is what they add to the text."""

    first: int
    end: int
    text: str

    @property
    def tokens(self) -> range:
        return range(self.first, self.end)

    def mean(self, values: Sequence[float]) -> float:
        """The mean of its tokens' values, NaN left out; NaN where all are."""
        known = [values[t] for t in self.tokens if not math.isnan(values[t])]
        return sum(known) / len(known) if known else math.nan

    def largest(self, values: Sequence[float]) -> float:
        """The largest of its tokens' values, NaN left out; NaN where all are."""
        return max((values[t] for t in self.tokens if not math.isnan(values[t])), default=math.nan)


def chips(tokens: Sequence[str]) -> list[Chip]:
    """The chips of a text, in order. `tokens`: the text that each token adds (see `tracing.result.token_texts`).

    A token that completes no character belongs to the chip of the token that does, and a mark that changes the
    character before it (an accent, a skin colour, a joined emoji) to that character's chip. Every token is in exactly
    one chip, and no chip contains the replacement character.
    """
    found: list[Chip] = []
    first, text = 0, ""
    for at, token in enumerate(tokens):
        text += token
        if not text:  # no complete character yet
            continue
        if found and _continues(found[-1].text, text):
            found[-1] = Chip(found[-1].first, at + 1, found[-1].text + text)
        else:
            found.append(Chip(first, at + 1, text))
        first, text = at + 1, ""
    if first < len(tokens):  # the text was cut off within a character
        if found:
            found[-1] = Chip(found[-1].first, len(tokens), found[-1].text + text)
        else:
            found.append(Chip(0, len(tokens), text or BROKEN))
    return [Chip(chip.first, chip.end, chip.text.replace("\ufffd", BROKEN)) for chip in found]


def _continues(before: str, text: str) -> bool:
    """Whether a text continues the last character of the text before it."""
    mark, last = text[0], before[-1]
    if mark == JOINER or (last == JOINER and not mark.isspace()):
        return True
    if unicodedata.category(mark) in ("Mn", "Mc", "Me") or any(ord(mark) in others for others in _CONTINUING):
        return True
    flags = len(before) - len(before.rstrip("".join(map(chr, range(0x1F1E6, 0x1F200)))))
    return flags % 2 == 1 and 0x1F1E6 <= ord(mark) < 0x1F200


def shown(text: str) -> str:
    """A text as a chip shows it: without spaces, or with visible signs for them where it holds nothing else."""
    return text.strip() or ("\u23ce" if "\n" in text else "\u2423" if text else BROKEN)
