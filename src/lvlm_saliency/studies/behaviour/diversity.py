"""How repetitive a text is, and how like the other texts of the same way of decoding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

MEASURES = ("words", "distinct-1", "distinct-2", "repeated 4-grams", "repeated sentences", "own 4-grams")
"""words: how many; distinct-n: different n-grams over all n-grams (Li et al., NAACL 2016); repeated 4-grams and
sentences: the share that stood earlier in the same text; own 4-grams: of the text's different 4-grams, the share
that no other text has."""


def measures(texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Name of each measure to float64 `[texts]`; NaN where a text is too short to have one."""
    split = [words(text) for text in texts]
    grams = [set(_grams(one, 4)) for one in split]
    holders = Counter(gram for one in grams for gram in one)
    nan = float("nan")
    rows = []
    for text, one, own in zip(texts, split, grams, strict=True):
        alone = sum(holders[gram] == 1 for gram in own) / len(own) if own else nan
        repeated = (1 - distinct(one, 4), repeated_sentences(text))
        rows.append((len(one), distinct(one, 1), distinct(one, 2), *repeated, alone))
    return dict(zip(MEASURES, np.array(rows, dtype=np.float64).reshape(-1, len(MEASURES)).T, strict=True))


def words(text: str) -> list[str]:
    """The words of a text, in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def distinct(tokens: Sequence[str], n: int) -> float:
    """Different n-grams divided by all n-grams; NaN where there are none."""
    grams = _grams(tokens, n)
    return len(set(grams)) / len(grams) if grams else float("nan")


def repeated_sentences(text: str) -> float:
    """Share of the sentences that stood in the text before, word for word; NaN without any."""
    found = [tuple(words(part)) for part in re.split(r"[.!?]+(?:\s|$)|\n", text)]
    found = [sentence for sentence in found if sentence]
    return 1 - len(set(found)) / len(found) if found else float("nan")


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
