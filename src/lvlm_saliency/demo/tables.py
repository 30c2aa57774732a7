"""The demonstration's two tables: how correct and made-up mentions hang, and what each method did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from ..report.content import Mark, Table
from .captions import Caption, Picture

MEASURES = {
    "saliency on earlier words": ("scores", "output"),
    "on the previous word": ("scores", "previous"),
    "on the picture": ("scores", "image"),
    "attention to the picture": ("attention_scores", "image"),
}


def mention_table(pictures: Sequence[Picture]) -> Table:
    """How first mentions in the greedy captions hang, correct ones beside made-up ones."""
    found = [
        (picture.captions[0].run, mark) for picture in pictures for mark, first in picture.captions[0].mentions if first
    ]
    kinds = [[pair for pair in found if pair[1].kind == kind] for kind in ("correct", "hallucinated")]
    rows = [
        [
            label,
            *(_mean([_span_mean(getattr(run.trace, method)(region)[0], mark) for run, mark in kind]) for kind in kinds),
        ]
        for label, (method, region) in MEASURES.items()
    ]
    rows.append(
        ["probability", *(_mean([_span_mean(run.trace.logprobs[0].exp(), at) for run, at in kind]) for kind in kinds)]
    )
    rows.append(["position in the caption", *(_mean([mark.start for _, mark in kind], 1) for kind in kinds)])
    note = (
        "Means over the first mention of each object in the greedy captions. Later words score lower on earlier words "
        "because the score spreads over more of them, and made-up objects tend to be named late: compare at equal "
        "position before concluding anything."
    )
    columns = ["mean over object words", f"in the picture (n = {len(kinds[0])})", f"made up (n = {len(kinds[1])})"]
    return Table("How object words hang", columns, rows, note)


def method_table(pictures: Sequence[Picture]) -> Table:
    """What each method did to the same pictures."""
    ways = [[picture.captions[way] for picture in pictures] for way in range(len(pictures[0].captions))]
    present = sum(len(picture.scene.present) for picture in pictures)
    tokens = [sum(caption.run.length for caption in captions) for captions in ways]
    rows = [
        ["captions with a made-up object", *(f"{_count(map(_made_up, way))} of {len(way)}" for way in ways)],
        ["mentions made up", *(f"{sum(map(_made_up, way))} of {sum(len(c.mentions) for c in way)}" for way in ways)],
        ["objects found", *(f"{_found(pictures, way)} of {present}" for way in ways)],
        ["words per caption", *(f"{fmean(len(caption.text.split()) for caption in way):.1f}" for way in ways)],
        ["tokens drawn again", *(f"{_redrawn(way)} of {count}" for way, count in zip(ways, tokens, strict=True))],
        ["ms per token", *(f"{_milliseconds(way) / count:.0f}" for way, count in zip(ways, tokens, strict=True))],
    ]
    note = f"{len(pictures)} captions show how it works, and say nothing about which method is better."
    return Table("The same pictures, four ways", ["", *(way[0].run.name for way in ways)], rows, note)


def _made_up(caption: Caption) -> int:
    return len(caption.hallucinated)


def _count(values: Iterable[int]) -> int:
    return sum(bool(value) for value in values)


def _found(pictures: Sequence[Picture], way: Sequence[Caption]) -> int:
    return sum(len(_classes(caption, picture.scene)) for caption, picture in zip(way, pictures, strict=True))


def _redrawn(way: Sequence[Caption]) -> int:
    return sum(bool(step.rejected) for caption in way for step in caption.run.steps)


def _milliseconds(way: Sequence[Caption]) -> float:
    return 1000 * sum(caption.cost.seconds for caption in way)


def _classes(caption: Caption, scene: Any) -> set[str]:
    from ..scenes import label_mentions

    return {mention.class_name for mention in label_mentions(caption.text, scene) if mention.correct}


def _span_mean(scores: Any, mark: Mark) -> float:
    return float(scores[mark.start : mark.end].mean())


def _mean(values: Sequence[float], digits: int = 3) -> str:
    known = [value for value in values if value == value]
    return f"{fmean(known):.{digits}f}" if known else "\u2013"
