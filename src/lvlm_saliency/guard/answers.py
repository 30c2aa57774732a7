"""Asks the model about attributes: is the value in the text the likeliest answer to an open question?"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lvlm_saliency.guard.attributes import Said
from lvlm_saliency.guard.questions import ROWS, Asker
from lvlm_saliency.tracing.logits import finite_logits


def confirmed(asker: Asker, wanted: Sequence[tuple[int, Said]]) -> list[bool]:
    """Whether the model confirms statements about objects.

    A statement is confirmed if none of its other `choices` is a likelier answer to its question (log p summed over the
    answer's tokens). Where questions cannot reuse the picture's part of the text's cache, nothing is asked and all
    statements count as confirmed, because every choice would take a pass over the whole picture.

    Args:
        wanted: (sample, statement) pairs.
    """
    if not asker.shares:
        return [True] * len(wanted)
    rows, counts = [], []
    for sample, said in wanted:
        tail = asker.wording.tail(said.question)
        answers = [asker.wording.answer(words) for words in said.answers]
        rows += [(sample, tail + ids, len(ids)) for ids in answers]
        counts.append(len(answers))
    found: list[float] = []
    size = ROWS * max(1, len(asker.rows))
    with torch.no_grad(), asker.alone():
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            logits, last = asker.behind([(row, ids) for row, ids, _ in some], 1 + max(count for *_, count in some))
            for row, (end, (_, ids, count)) in zip(logits, zip(last.tolist(), some, strict=True), strict=True):
                # The logits at a position predict the token after it, so those of the answer begin one earlier.
                log_p = finite_logits(row[end - count : end]).float().log_softmax(-1)
                found.append(float(log_p[range(count), ids[-count:]].sum()))
    asker.asked += len(wanted)
    said_so, at = [], 0
    for (_, said), count in zip(wanted, counts, strict=True):
        own = found[at + said.choices.index(said.value)]
        said_so.append(own >= max(found[at : at + count]))
        at += count
    return said_so
