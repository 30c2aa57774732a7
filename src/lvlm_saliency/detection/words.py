"""A detector's score of every word of a text, for pages and terminals that colour words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlm_saliency.detection.base import Detector
from lvlm_saliency.detection.capture import reading
from lvlm_saliency.detection.fitted import Fittable
from lvlm_saliency.detection.mention import Mention, every_word
from lvlm_saliency.errors import SettingError

if TYPE_CHECKING:
    from lvlm_saliency.tracing.result import SaliencyTrace


def check_ready(one: Detector) -> None:
    """Refuse a detector that has to be fitted first.

    Raises:
        SettingError: what is to be done instead.
    """
    if isinstance(one, Fittable) and one.fit != "none" and not one.ready:
        raise SettingError(
            f"{one.name} is fitted on labelled pictures, and nothing fitted ships: choose another one, or see the "
            f"table of study detect --detector {one.name}"
        )


def words_of(pieces: Sequence[str], sample: int = 0) -> list[Mention]:
    """The words of a text that was split into these pieces; what stands in angle or square brackets (special tokens)
    is none."""
    shown = ["" if piece.strip()[:1] in "<[" and piece.strip()[-1:] in ">]" else piece for piece in pieces]
    return every_word(shown, sample)


def scorer(one: Detector, model: Any, processor: Any) -> Callable[[SaliencyTrace, Any], list[float]]:
    """A function of (trace, answer), as `Chat.explain` takes them, that gives each token the score of its word, NaN
    where there is none. What the trace does not hold is captured in a pass of its own.

    Raises:
        SettingError: the detector has to be fitted first.
    """
    check_ready(one)

    def score(trace: SaliencyTrace, answer: Any) -> list[float]:
        batch, mentions = answer.batch, words_of(answer.answered(processor), answer.sample)
        found = reading(
            model,
            dict(batch.inputs),
            batch.sequences,
            [one],
            mentions=mentions,
            processor=processor,
            images=[query.pictures for query in batch.queries],
            methods=batch_methods(batch),
        )[answer.sample]
        values = np.full(len(answer.tokens), np.nan)
        for mention in mentions:
            values[mention.start : mention.end] = one.score(found, mention)
        return values.tolist()

    return score


def batch_methods(batch: Any) -> list[Any]:
    """Those of a batch's methods that shape attention."""
    from lvlm_saliency.attention.given import editing

    return editing(batch.methods)
