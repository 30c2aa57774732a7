"""Detectors judge answers: of a text that thinks, each answer is a reading of its own, whose prompt ends with the
thinking."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import LensOf, Reading
from lvlm_saliency.tracing.answers import of_answer


def located(source: Any, mention: Mention) -> tuple[Reading, Mention] | None:
    """The reading of the answer that a word stands in, and the word as that answer counts its tokens; None for a word
    of the thinking. source: a reading, or a saliency trace, from which the reading is made."""
    reading = source if isinstance(source, Reading) else Reading.of_trace(source, mention.sample)
    if reading.answers is None:
        return reading, mention
    for first, end in reading.answers:
        if first <= mention.start and mention.end <= end:
            if (first, end) not in reading.by_answer:
                whole = (first, end) == (0, reading.count)
                reading.by_answer[first, end] = reading if whole else reading_of(reading, first, end)
            moved = replace(mention, start=mention.start - first, end=mention.end - first)
            return reading.by_answer[first, end], moved
    return None


def reading_of(reading: Reading, first: int, end: int) -> Reading:
    """What was captured of the answer from token `first` to before token `end`, its prompt all that stands before."""
    kept = (reading.rows >= first) & (reading.rows <= end)
    behind = reading.prompt + first - int(reading.image.max()) - 1 if len(reading.image) else 0
    trace = None if reading.trace is None else of_answer(reading.trace, reading.sample, first, end)
    return replace(
        reading,
        ids=reading.ids[: reading.prompt + end],
        prompt=reading.prompt + first,
        rows=reading.rows[kept] - first,
        logprob=_cut(reading.logprob, slice(first, end)),
        entropy=_cut(reading.entropy, slice(first, end)),
        margin=_cut(reading.margin, slice(first, end)),
        surprise=_cut(reading.surprise, kept),
        attention={layer: rows[:, kept] for layer, rows in reading.attention.items()},
        chain={layer: pair[:, :, first : end + 1] for layer, pair in reading.chain.items()},
        text={index: states[kept] for index, states in reading.text.items()},
        prompt_states={index: states[:behind] for index, states in reading.prompt_states.items()},
        prompt_lens={key: _cut_lens(lens, slice(behind)) for key, lens in reading.prompt_lens.items()},
        text_top=_cut(reading.text_top, kept),
        text_entropy=_cut(reading.text_entropy, kept),
        extra={name: _cut_extra(name, found, slice(first, end)) for name, found in reading.extra.items()},
        max_new_tokens=None if reading.max_new_tokens is None else max(reading.max_new_tokens - first, end - first),
        trace=trace,
        sample=0 if trace is not None else reading.sample,
        scores={},
        answers=None,
        by_answer={},
    )


def _cut(values: np.ndarray | None, chosen: Any) -> np.ndarray | None:
    return None if values is None else values[chosen]


def _cut_lens(lens: LensOf, some: slice) -> LensOf:
    """The lens on some of its positions."""
    parts = (lens.logits, lens.size, lens.top, lens.least, lens.kept)
    return LensOf(lens.ids, *(part[some] for part in parts))


def _cut_extra(name: str, found: Any, tokens: slice) -> Any:
    """What a further pass said of each token, of these tokens; what it said of objects, as it is."""
    if name != "blank picture":
        return found
    return {key: values[tokens] for key, values in found.items()}
