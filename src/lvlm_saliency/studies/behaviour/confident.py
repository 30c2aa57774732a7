"""Confident hallucinations: probable words of high saliency that are not in the picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies.behaviour.figures import thumbnails
from lvlm_saliency.studies.behaviour.phrases import share, signed, verdict_of
from lvlm_saliency.studies.page import FAILS, HOLDS, Cell, Finding, Part, Picture, Table

if TYPE_CHECKING:
    from lvlm_saliency.studies.behaviour.study import Found

LISTED = 8


class Confident:
    """First mentions that the model is sure of, split at the median saliency of correct ones."""

    def __init__(self, found: Found, least: float, resamples: int, seed: int):
        self.words, self.saliency, self.least = found.words, found.saliency, least
        self.wrong = self.words.hallucinated
        right = self.saliency[~self.wrong]
        self.middle = float(np.median(right)) if len(right) else float("nan")
        self.sure = np.exp(self.words.logprob) >= least
        self.high = self.saliency >= self.middle
        resampler = stats.Resampler(self.words.group, resamples, seed)
        sides = [stats.mean(self.wrong, self.sure & side) for side in (self.high, ~self.high)]
        self.rates = [resampler.estimate(side) for side in sides]
        self.gap = resampler.difference(*sides)

    @property
    def chosen(self) -> np.ndarray:
        """int `[k]`: rows of confident hallucinations of high saliency, the most salient first."""
        rows = np.flatnonzero(self.wrong & self.sure & self.high)
        return rows[np.argsort(-self.saliency[rows], kind="stable")]

    def finding(self) -> Finding:
        high, low = self.rates
        counts = [int((self.sure & side).sum()) for side in (self.high, ~self.high)]
        text = (
            f"A word that the model is sure of (p ≥ {self.least:g}) is safer when its saliency is high: "
            f"{share(high)} of such first mentions are hallucinated (n = {counts[0]:,}), and {share(low)} of those "
            f"of low saliency (n = {counts[1]:,}), {signed(self.gap)} points."
        )
        return Finding(verdict_of(self.gap, FAILS, HOLDS, 0.0), text)

    def part(self) -> Part:
        rows = self.chosen
        total = int(self.wrong.sum())
        text = (
            f"In greedy captions {len(rows):,} of {total:,} hallucinated first mentions have a probability of at least "
            f"{self.least:g} and a saliency over earlier output of at least the median of correct ones: neither "
            "probability nor saliency would catch them."
        )
        if not len(rows):
            return Part("Confident hallucinations", text)
        listed = [self._line(row) for row in rows[:LISTED]]
        head = ("picture", "word", "probability", "saliency", "share of correct words below", "text")
        cells = tuple(tuple(Cell(value) for value in line) for line in listed)
        texts = [self.words.texts[self.words.text[row]] for row in rows[:LISTED]]
        shown = [f"“{line[1]}”\np {line[2]}, S {line[3]}" for line in listed]
        caption = (
            "The pictures, each with a word that the caption says and the picture does not hold: its probability p and "
            "its saliency S."
        )
        picture = Picture("confident", caption, thumbnails(texts, shown))
        return Part("Confident hallucinations", text, [Table("The most salient of them", head, cells)], [picture])

    def rows(self) -> list[dict[str, Any]]:
        """Every confident hallucination, JSON-ready."""
        found = []
        for row in self.chosen:
            text = self.words.texts[self.words.text[row]]
            told = {"image": text.image, "word": str(self.words.name[row]), "position": int(self.words.position[row])}
            scores = {"probability": math.exp(self.words.logprob[row]), "saliency": float(self.saliency[row])}
            found.append({**told, **scores, "text": text.text})
        return found

    def _line(self, row: int) -> tuple[str, ...]:
        text = self.words.texts[self.words.text[row]]
        span = text.spans[self.words.span[row]]
        start, end = max(0, span.start - 40), span.end + 12
        excerpt = ("…" if start else "") + text.text[start:end].strip() + ("…" if end < len(text.text) else "")
        below = float(np.mean(self.saliency[~self.wrong] < self.saliency[row]))
        probability = f"{math.exp(self.words.logprob[row]):.2f}"
        word = text.text[span.start : span.end]
        return text.image, word, probability, f"{self.saliency[row]:.3f}", f"{100 * below:.0f} %", excerpt
