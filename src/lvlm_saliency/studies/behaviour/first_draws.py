"""First draws as a table: what SGRS drew first at every step, what that word is, and whether it was refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlm_saliency.benchmarks.base import Benchmark
from lvlm_saliency.stats.clusters import Resampler
from lvlm_saliency.studies.labels import Answers, Labeller
from lvlm_saliency.studies.texts import blanked
from lvlm_saliency.tracing.pieces import text_pieces

CORRECT, HALLUCINATED, OTHER = "correct object", "hallucinated object", "other word"
REACH = 80
"""Characters before a drawn word that are read to label it: enough for names of several words, and quick."""

Tagger = Callable[[str, str, bool], str]
"""(text so far, the drawn piece, whether it names an object) to a part of speech."""


@dataclass(frozen=True)
class Draws:
    """One row per step at which the gate had a threshold. All arrays `[N]`.

    Attributes:
        text: int, which text.
        group: int, which picture.
        position: int, number of the token, from 0.
        kind: `CORRECT`, `HALLUCINATED` or `OTHER`, of the first draw.
        again: bool, the text named that object before.
        tag: part of speech, "" where there is no tagger.
        refused: bool, the first draw was refused.
        count: int, how many draws were refused.
        fallback: bool, every draw was refused, and the candidate of the largest saliency was taken.
        likeliest: bool, the first draw was the most probable candidate.
        kept: bool, it was refused and written all the same, because nothing was accepted and it had the largest
            saliency.
    """

    text: np.ndarray
    group: np.ndarray
    position: np.ndarray
    kind: np.ndarray
    again: np.ndarray
    tag: np.ndarray
    refused: np.ndarray
    count: np.ndarray
    fallback: np.ndarray
    likeliest: np.ndarray
    kept: np.ndarray

    def __len__(self) -> int:
        return len(self.text)

    def resampler(self, resamples: int, seed: int) -> Resampler:
        return Resampler(self.group, resamples, seed)


def first_draws(
    rows: Sequence[Mapping[str, Any]],
    benchmark: Benchmark,
    label: Labeller,
    tokenizer: Any,
    tag: Tagger | None = None,
    answers: Answers | None = None,
) -> Draws:
    """The table of the records that `gate_records.write` returned.

    Refused and accepted draws are judged alike: by the object word that the drawn piece completes after the text
    written so far. A name of several tokens whose first one is no word counts as other. With `answers`, draws of a
    thinking before the answer are left out.
    """
    images = {image: number for number, image in enumerate(dict.fromkeys(row["image"] for row in rows))}
    found: list[tuple[Any, ...]] = []
    for number, row in enumerate(rows):
        item, ids = benchmark.items[row["index"]], row["token_ids"]
        pieces = text_pieces(tokenizer, ids)
        spoken = None if answers is None else answers(item, ids)
        shown = blanked(pieces, spoken)
        written = ""
        for position, (step, token) in enumerate(zip(row["steps"], ids, strict=True)):
            if step["tested"] and (spoken is None or any(first <= position < end for first, end in spoken)):
                drawn = step["rejected"][0] if step["rejected"] else token
                piece = pieces[position]
                if drawn != token:  # a few tokens before it show whether it opens a word
                    piece = text_pieces(tokenizer, [*ids[max(0, position - 4) : position], drawn])[-1]
                before = _context(written)
                kind, _ = _named(before, piece, label, item)
                again = kind != OTHER and _named(written, piece, label, item)[1]
                speech = tag(before, piece, kind != OTHER) if tag is not None else ""
                count = len(step["rejected"])
                told = (step["fallback"], drawn == step["top"], bool(count) and drawn == token)
                found.append((number, images[row["image"]], position, kind, again, speech, bool(count), count, *told))
            written += shown[position]
    columns = list(zip(*found, strict=True)) if found else [()] * 11
    kinds = (int, int, int, object, bool, object, bool, int, bool, bool, bool)
    return Draws(*(np.array(values, dtype=kind) for values, kind in zip(columns, kinds, strict=True)))


def _context(written: str) -> str:
    """The end of the text, beginning with a whole word."""
    return written if len(written) <= REACH else written[-REACH:].partition(" ")[2]


def _named(before: str, piece: str, label: Labeller, item: Any) -> tuple[str, bool]:
    """What the piece names behind this text, and whether the text named it before."""
    word = piece.strip()
    if not word:
        return OTHER, False
    text = before + piece
    start = len(text) - len(piece.lstrip())
    ends = start + len(word)
    for span in label(text, item):
        if span.start < ends and span.end > start:
            return (HALLUCINATED if span.hallucinated else CORRECT), not span.first
    return OTHER, False
