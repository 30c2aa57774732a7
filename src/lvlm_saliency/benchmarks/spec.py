"""The description of a benchmark, which every table, page and command reads.

A benchmark's room holds its scorer (`scorer.py`, pure and without torch), its `spec.py`, and, where `evaluate` can run
it, its `adapter.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from lvlm_saliency.pages.figures import Figure
from lvlm_saliency.stats.counts import CountTable

Result = Mapping[str, Any]

COCO = "MS-COCO 2014 (cocodataset.org, downloads: 2014 Val images, 2014 Train/Val annotations)"
"""Where COCO's pictures and annotations are had."""


@dataclass(frozen=True)
class Need:
    """Something that a benchmark reads: `stem` of a file, or "pictures", or "folder"; `where` says how to get it."""

    stem: str
    what: str
    where: str
    optional: bool = False


@dataclass(frozen=True)
class Column:
    """A column of `lvlm-saliency score`: a figure, how its number is printed, and its counts as a format of the
    result's fields."""

    heading: str
    figure: str
    counts: str = ""
    digits: int = 1
    factor: float = 100.0


@dataclass(frozen=True)
class Parts:
    """Figures of a benchmark's parts: under which name the result holds them, and how each is shown.

    Attributes:
        figure: its name within a part (None: a part is a number).
        interval: the name of its interval, out of the part's.
        none: the number that says that there is nothing to count.
    """

    name: str
    column: Column
    figure: str | None = None
    interval: str = "{}"
    none: float | None = None


@dataclass(frozen=True)
class Scores:
    """A scorer's results as tables read them.

    Attributes:
        table: module that holds `table(result) -> CountTable`, the counts per picture behind a result.
        items: where a result keeps its items.
        key: what tells two items apart.
        columns: the columns of `score`, by task; "" where the benchmark has one task.
        parts: the parts that `score` shows below, by task.
        figures: the figures that summaries show, in their order.
        plotted: figures whose differences are drawn.
        judged: figures that get smaller in shorter texts, and so are compared with the control of equal length.
        beside: figures that are shown beside those.
        told: figures that findings report, in their order.
        across: pairs of figures for the plot of one against the other, horizontal first.
        sums: further counts of a result, for the formats of the columns.
    """

    table: str
    items: str
    key: Callable[[Mapping[str, Any]], Hashable]
    columns: Mapping[str, tuple[Column, ...]]
    parts: Mapping[str, Parts] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    plotted: tuple[str, ...] = ()
    judged: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    across: tuple[tuple[str, str], ...] = ()
    sums: Callable[[Result], Mapping[str, int]] = lambda result: {}

    def counts(self, result: Result) -> CountTable:
        """The counts per picture behind a result."""
        return import_module(self.table).table(result)


@dataclass(frozen=True)
class Spec:
    """A benchmark.

    Attributes:
        name: as commands take it.
        scores: how its results are read; None where its adapter passes its answers to another benchmark's scorer.
        adapter: "module:class" of what `evaluate` runs; "" where there is none.
        whole: the parts of an adapter's result that are the benchmark as a whole.
        needs: files and pictures that a run reads.
        hub: the data set on the hub that holds questions and pictures; "" where there is none.
    """

    name: str
    scores: Scores | None = None
    adapter: str = ""
    whole: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    hub: str = ""
