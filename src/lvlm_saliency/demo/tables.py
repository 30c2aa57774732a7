"""The demonstration's two tables: the saliency of correct and hallucinated mentions, and what each method did."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from ..report.content import Mark, Table
from .captions import Caption, Demo, Way

MEASURES = {
    "saliency on earlier words": ("scores", "output"),
    "on the previous word": ("scores", "previous"),
    "on the picture": ("scores", "image"),
    "attention to the picture": ("attention_scores", "image"),
}


def mention_table(demo: Demo) -> Table:
    """The saliency of first mentions in the greedy captions: correct ones beside hallucinated ones."""
    found = [(caption.run, mark) for caption in demo.ways[0].captions for mark, first in caption.mentions if first]
    kinds = [[pair for pair in found if pair[1].kind == kind] for kind in ("correct", "hallucinated")]
    rows = []
    for label, (method, region) in MEASURES.items():
        means = [[_span_mean(getattr(run.trace, method)(region)[run.sample], at) for run, at in kind] for kind in kinds]
        rows.append([label, *map(_mean, means)])
    likely = [[_span_mean(run.trace.logprobs[run.sample].exp(), at) for run, at in kind] for kind in kinds]
    rows.append(["probability", *map(_mean, likely)])
    rows.append(["position in the caption", *(_mean([mark.start for _, mark in kind], 1) for kind in kinds)])
    note = (
        "Means over the first mention of each object in the greedy captions. Later words score lower on earlier words "
        "because the score spreads over more of them, and hallucinated objects tend to be named late: compare at equal "
        "position before concluding anything."
    )
    columns = ["mean over object words", f"in the picture (n = {len(kinds[0])})", f"hallucinated (n = {len(kinds[1])})"]
    return Table("What object words depend on", columns, rows, note)


def method_table(demo: Demo) -> Table:
    """The figures of each way of decoding on the same pictures."""
    count = len(demo.scenes)
    present = sum(len(scene.present) for scene in demo.scenes)
    columns = [_figures(way, demo.scenes, present) for way in demo.ways]
    rows = [[label, *(column[label] for column in columns)] for label in columns[0]]
    note = f"{count} captions, written as one batch, show how it works, and say nothing about which way is better."
    return Table("The same pictures, five ways", ["", *(way.name for way in demo.ways)], rows, note)


def _figures(way: Way, scenes: Sequence[Any], present: int) -> dict[str, str]:
    captions = way.captions
    hallucinated = [len(caption.hallucinated) for caption in captions]
    tokens = sum(caption.run.length for caption in captions)
    found = sum(len(_classes(caption, scene)) for caption, scene in zip(captions, scenes, strict=True))
    redrawn = sum(bool(step.rejected) for caption in captions for step in caption.run.steps or ())
    return {
        "captions with a hallucinated object": f"{sum(map(bool, hallucinated))} of {len(captions)}",
        "mentions hallucinated": f"{sum(hallucinated)} of {sum(len(caption.mentions) for caption in captions)}",
        "objects found": f"{found} of {present}",
        "words per caption": f"{fmean(len(caption.text.split()) for caption in captions):.1f}",
        "tokens drawn again": f"{redrawn} of {tokens}",
        "seconds": f"{way.seconds:.1f}",
    }


def _classes(caption: Caption, scene: Any) -> set[str]:
    from ..scenes import label_mentions

    return {mention.class_name for mention in label_mentions(caption.text, scene) if mention.correct}


def _span_mean(scores: Any, mark: Mark) -> float:
    return float(scores[mark.start : mark.end].mean())


def _mean(values: Sequence[float], digits: int = 3) -> str:
    known = [value for value in values if value == value]
    return f"{fmean(known):.{digits}f}" if known else "\u2013"
