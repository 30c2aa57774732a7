"""What each detector costs on this machine: milliseconds a text, and beside a plain pass over prompt and answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lvlm_saliency.detection.capture import reading
from lvlm_saliency.detection.fitted import Fittable
from lvlm_saliency.evaluation.decoding import queries
from lvlm_saliency.studies.detect.published.gather import words_of
from lvlm_saliency.studies.detect.published.rows import Row
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.texts import LabelledText

TEXTS, REPEATS = 6, 3


@dataclass(frozen=True)
class Cost:
    """milliseconds: a text, pass over it included (the fastest of some repeats, mean over texts), on a CPU of processor
    time, which other work on the machine does not lengthen; passes: how many times that of a plain pass."""

    milliseconds: float
    passes: float


def measured(lab: Lab, texts: Sequence[LabelledText], rows: Sequence[Row]) -> dict[str, Cost]:
    """The cost of each row by itself, texts one by one."""
    some = [text for text, mentions in zip(texts, words_of(texts), strict=True) if mentions][:TEXTS]
    prepared = [_prepared(lab, text) for text in some]
    if not prepared:
        return {}
    clock = time.process_time if lab.model.device.type == "cpu" else time.perf_counter
    plain = sum(_fastest(clock, partial(_read, lab, one, [])) for one in prepared) / len(prepared)
    found = {}
    lab.listener.begin("cost of detectors", len(rows), 0)
    for row in rows:
        spent = sum(_fastest(clock, partial(_scored, lab, one, row)) for one in prepared) / len(prepared)
        found[row.label] = Cost(1000 * spent, spent / plain)
        lab.listener.advance("cost of detectors", 1)
    return found


def _prepared(lab: Lab, text: LabelledText) -> tuple[Any, Any, Any]:
    asked = queries([text.picture()], [text.prompt])
    return asked, lab.decoder.chat.given_ids(asked, [text.token_ids])[0].batch, words_of([text])[0]


def _read(lab: Lab, prepared: tuple[Any, Any, Any], detectors: Sequence[Any]) -> list[Any]:
    asked, batch, mentions = prepared
    shown = {"processor": lab.processor, "images": [query.pictures for query in asked]}
    return reading(lab.model, dict(batch.inputs), batch.sequences, detectors, mentions=mentions, **shown)


def _scored(lab: Lab, prepared: tuple[Any, Any, Any], row: Row) -> None:
    found, one = _read(lab, prepared, [row.detector])[0], row.detector
    for mention in prepared[2]:
        if row.fits and isinstance(one, Fittable):
            one.features(found, mention)
        else:
            one.score(found, mention)


def _fastest(clock: Callable[[], float], work: Callable[[], Any]) -> float:
    found = []
    for _ in range(REPEATS):
        begin = clock()
        work()
        found.append(clock() - begin)
    return min(found)
