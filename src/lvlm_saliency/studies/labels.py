"""Where labelled texts come from: answers of the model to a benchmark whose ground truth is known, or a user's file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lvlm_saliency.benchmarks.base import Benchmark, Item
from lvlm_saliency.errors import InputError
from lvlm_saliency.studies.texts import LabelledText, Span, blanked, first_mentions
from lvlm_saliency.tracing.pieces import text_pieces

LABELLED = ("scenes-caption", "chair")
"""The benchmarks whose answers are descriptions with known ground truth."""

Labeller = Callable[[str, Item], list[Span]]


def labeller(benchmark: Benchmark) -> Labeller:
    """How object words in answers to this benchmark are found and labelled.

    Raises:
        InputError: the benchmark's answers are not descriptions with known ground truth.
    """
    check_source(benchmark.name)
    return {"scenes-caption": _scenes, "chair": _chair}[benchmark.name](benchmark)


def check_source(name: str) -> None:
    """Raise InputError unless answers to the benchmark of this name can be labelled."""
    if name not in LABELLED:
        raise InputError(
            f"{name}: no labelled words in its answers; give --labels {' or '.join(LABELLED)}, or a file of labelled "
            "texts (.jsonl)"
        )


Answers = Callable[[Item, Sequence[int]], list[tuple[int, int]] | None]
"""(item, tokens) to those that answer, as (first, one past the last); None for all (`Decoder.answers`)."""


def labelled(
    benchmark: Benchmark, rows: Mapping[int, Mapping[str, Any]], tokenizer: Any, answers: Answers | None = None
) -> list[LabelledText]:
    """The answers `rows` (as a run keeps them, by item index) with their labels, in order; failed items left out.

    With `answers`, words of a thinking before the answer are not labelled, and do not count as earlier mentions.
    """
    label = labeller(benchmark)
    found = []
    for index, row in rows.items():
        if "error" in row:
            continue
        item = benchmark.items[index]
        pieces = text_pieces(tokenizer, row["token_ids"])
        text = "".join(pieces)
        shown = blanked(pieces, None if answers is None else answers(item, row["token_ids"]))
        found.append(
            LabelledText(
                image=item.image,
                prompt=item.prompt,
                text=text,
                token_ids=tuple(row["token_ids"]),
                pieces=tuple(pieces),
                spans=tuple(label("".join(shown), item)),
                picture=functools.partial(benchmark.picture, item),
            )
        )
    return found


def _scenes(benchmark: Any) -> Labeller:
    """Exact labels: the content of drawn scenes is known."""
    from lvlm_saliency.scenes import label_mentions

    def label(text: str, item: Item) -> list[Span]:
        mentions = label_mentions(text, benchmark.by_image[item.image])
        return [Span(m.start_char, m.end_char, not m.correct, m.class_name, m.first) for m in mentions]

    return label


def _chair(benchmark: Any) -> Labeller:
    """CHAIR's mentions under the benchmark's variant, labelled by COCO's (incomplete) ground truth."""
    from lvlm_saliency.benchmarks.chair import locate

    def label(text: str, item: Item) -> list[Span]:
        truth = set(benchmark.objects[item.id])
        found = locate(text, benchmark.synonyms, benchmark.variant)
        return spans_of([(m.start, m.end, m.node not in truth, m.node) for m in found])

    return label


def spans_of(places: Sequence[tuple[int, int, bool, str]]) -> list[Span]:
    """Spans of (start, end, hallucinated, name) in reading order, with first mentions found by name."""
    firsts = first_mentions([name for _, _, _, name in places])
    return [Span(*place, first) for place, first in zip(places, firsts, strict=True)]
