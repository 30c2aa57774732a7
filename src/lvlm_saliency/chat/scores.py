"""Scores of published detectors for every token of some answers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from lvlm_saliency.attention.given import editing
from lvlm_saliency.chat.answer import Answer
from lvlm_saliency.detection.base import located_in
from lvlm_saliency.detection.capture import reading
from lvlm_saliency.detection.mention import Mention, every_word
from lvlm_saliency.detection.registry import detector


def token_scores(
    model: Any,
    processor: Any,
    answers: Sequence[Answer],
    detectors: Sequence[Any],
    mentions: Sequence[Sequence[Mention]] | None = None,
) -> dict[int, dict[str, list[float]]]:
    """A score for every token of answers of one batch: that of its word, NaN between words.

    Args:
        model, processor: which wrote or read the answers.
        answers: of one batch.
        detectors: by name or as detectors (`lvlm_saliency.detectors()`).
        mentions: the words of each answer that are judged; default every word.

    Returns:
        The scores by sample and by the detector's name.

    Raises:
        LvlmSaliencyError: as `detection.capture.reading`.
    """
    batch = answers[0].batch
    chosen = [detector(one) if isinstance(one, str) else one for one in detectors]
    words = {
        answer.sample: every_word(answer.answered(processor), answer.sample)
        if mentions is None
        else [dataclasses.replace(one, sample=answer.sample) for one in mentions[at]]
        for at, answer in enumerate(answers)
    }
    readings = reading(
        model,
        batch.inputs,
        batch.sequences if batch.output is None else batch.output,
        chosen,
        mentions=[mention for own in words.values() for mention in own],
        processor=processor,
        # scores that need a grid over one picture are NaN beside a video, as for a family without a grid
        images=None if any(query.films for query in batch.queries) else [query.pictures for query in batch.queries],
        methods=editing(batch.methods),
    )
    found: dict[int, dict[str, list[float]]] = {}
    for answer in answers:
        scores = found[answer.sample] = {}
        for one in chosen:
            values = scores[one.name] = [math.nan] * len(answer.token_ids)
            for mention in words[answer.sample]:
                if not _judged(one, readings[answer.sample], mention):
                    continue
                values[mention.start : mention.end] = [one.score(readings[answer.sample], mention)] * len(
                    mention.tokens
                )
    return found


def _judged(one: Any, reading: Any, mention: Mention) -> bool:
    found = located_in(reading, mention)
    return found is None or one.judges(*found)
