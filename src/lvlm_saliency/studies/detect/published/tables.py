"""The tables of the comparison, and its figures as rows of data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.detect.published.compare import ALL, FIRST
from lvlm_saliency.studies.detect.published.judge import POOLED, Reached
from lvlm_saliency.studies.detect.published.rows import CLASSES
from lvlm_saliency.studies.detect.tables import NAMES
from lvlm_saliency.studies.page import Cell, Table

if TYPE_CHECKING:
    from lvlm_saliency.studies.detect.published.compare import Transfer
    from lvlm_saliency.studies.detect.published.study import Results


def shown(value: float, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def with_interval(found: Estimate) -> str:
    """An estimate with its interval, or a dash."""
    return "–" if math.isnan(found.value) else str(found)


def way_name(way: str) -> str:
    """A way of decoding as tables call it."""
    return NAMES.get(way, way)


def ranked(results: Results) -> list[str]:
    """Labels of the default rows and the controls, the best first, by AUROC on first mentions."""
    labels = [*results.controls, *(row.label for row in results.main())]
    return sorted(labels, key=lambda label: -number_of(results.reached[label][POOLED, FIRST].auroc.value))


def number_of(value: float) -> float:
    """A number to rank by: what has none comes last."""
    return -1.0 if math.isnan(value) else value


def main_table(results: Results) -> Table:
    """Every detector and every control, first mentions, ways of decoding together."""
    rows = {row.label: row for row in results.main()}
    lines = []
    for label in ranked(results):
        one = results.reached[label][POOLED, FIRST]
        row = rows.get(label)
        cost = results.costs.get(label)
        lines.append(
            (
                Cell(label if row is not None else f"{label} (control)"),
                Cell("–" if row is None else row.detector.where),
                Cell("–" if row is None else str(CLASSES.index(row.cost))),
                Cell("–" if cost is None else f"{cost.milliseconds:.0f} ({cost.passes:.1f})"),
                Cell(with_interval(one.auroc.estimate())),
                Cell(with_interval(one.in_position.estimate())),
                Cell(with_interval(one.in_class.estimate())),
                Cell(with_interval(one.average_precision)),
                Cell(with_interval(one.found)),
                Cell(shown(one.alarms.value)),
                Cell(shown(one.ece.value, 4)),
                Cell(f"{one.coverage:.1%}"),
            )
        )
    head = (
        "detector",
        "read at",
        "cost class",
        "ms a text (plain passes)",
        "AUROC",
        "within position",
        "within position and class",
        "AUPR",
        "TPR at FPR .05",
        "FPR at TPR .95",
        "ECE",
        "coverage",
    )
    words, bad, pictures = results.counts[POOLED, FIRST]
    classes = "; ".join(f"{number}: {name}" for number, name in enumerate(CLASSES))
    note = (
        f"{words} first mentions, {bad} hallucinated, of {pictures} pictures. Cost classes: {classes}. Milliseconds of "
        "a text alone (on a CPU: of processor time), the pass over it included; in brackets how many plain passes. "
        "Intervals: 95 %, over pictures."
    )
    return Table(f"First mentions, {together(results)} texts together", head, tuple(lines), note)


def together(results: Results) -> str:
    """The ways of decoding that are pooled, in words."""
    return " and ".join(way_name(way) for way in results.trained)


def by_way(results: Results) -> Table:
    """AUROC by way of decoding, first mentions and all."""
    keys = [(way, kind) for kind in (FIRST, ALL) for way in results.ways]
    lines = []
    for label in ranked(results):
        found = results.reached[label]
        cells = [Cell(_pair(found[key])) for key in keys]
        control = label in results.controls
        lines.append((Cell(f"{label} (control)" if control else label), *cells))
    head = ("detector", *(f"{way_name(way)}, {kind.split()[0]}" for way, kind in keys))
    counts = "; ".join(
        f"{way_name(way)}, {kind}: {results.counts[way, kind][0]} words, {results.counts[way, kind][1]} hallucinated"
        for way, kind in keys
    )
    return Table("AUROC / within position, by way of decoding", head, tuple(lines), counts)


def _pair(one: Reached) -> str:
    return f"{shown(one.auroc.value)} / {shown(one.in_position.value)}"


def readings(results: Results) -> Table:
    """Rows that are another reading of a detector, beside its default."""
    lines = []
    for row in results.rows:
        if row.main and not any(other.name == row.name and not other.main for other in results.rows):
            continue
        one = results.reached[row.label][POOLED, FIRST]
        lines.append(
            (
                Cell(f"{row.label} (default)" if row.main else row.label),
                Cell(row.detector.where),
                Cell(row.detector.subtokens),
                Cell(with_interval(one.auroc.estimate())),
                Cell(with_interval(one.in_position.estimate())),
                Cell(f"{one.coverage:.1%}"),
            )
        )
    head = ("reading", "read at", "tokens", "AUROC", "within position", "coverage")
    return Table("Other readings of the same detectors", head, tuple(lines))


def transfers(results: Results) -> Table:
    """Fitted and calibrated on one way of decoding, tested on each."""
    cells: dict[str, list[Cell]] = {}
    pairs = [(trained, tested) for trained in results.trained for tested in results.ways]
    known = {(one.label, one.trained, one.tested): one for one in results.transfers}
    for label in ranked(results):
        if any((label, *pair) in known for pair in pairs):
            found = [known.get((label, *pair)) for pair in pairs]
            cells[label] = [
                Cell("–" if one is None else " / ".join(shown(part) for part in _of_transfer(one))) for one in found
            ]
    head = ("detector", *(f"{way_name(trained)} → {way_name(tested)}" for trained, tested in pairs))
    lines = tuple((Cell(label), *found) for label, found in cells.items())
    note = (
        "AUROC / within position / calibration error / the bound that the calibration error of a perfectly calibrated "
        "risk passes once in twenty; first mentions of pictures that neither fit nor calibration has seen."
    )
    return Table("Fitted on one way of decoding, tested on another", head, lines, note)


def _of_transfer(one: Transfer) -> tuple[float, ...]:
    return one.auroc.value, one.in_position.value, one.ece.value, one.by_chance


def data(results: Results) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Every figure as rows."""

    def parts(prefix: str, one: Estimate) -> dict[str, Any]:
        return {prefix: one.value, f"{prefix}_low": one.low, f"{prefix}_high": one.high}

    rows = {row.label: row for row in results.rows}
    table = []
    for label, found in results.reached.items():
        row, cost = rows.get(label), results.costs.get(label)
        for (way, kind), one in found.items():
            table.append(
                {
                    "row": label,
                    "detector": label if row is None else row.name,
                    "control": row is None,
                    "default": row is not None and row.main,
                    "where": None if row is None else row.detector.where,
                    "cost_class": None if row is None else row.cost,
                    "milliseconds": None if cost is None else cost.milliseconds,
                    "passes": None if cost is None else cost.passes,
                    "texts": way,
                    "words": kind,
                    **parts("auroc", one.auroc.estimate()),
                    **parts("within_position", one.in_position.estimate()),
                    **parts("within_position_and_class", one.in_class.estimate()),
                    **parts("average_precision", one.average_precision),
                    **parts("tpr_at_fpr_05", one.found),
                    **parts("fpr_at_tpr_95", one.alarms),
                    **parts("ece", one.ece),
                    "coverage": one.coverage,
                    "n": one.auroc.n,
                }
            )
    moved = [
        {
            "row": one.label,
            "trained": one.trained,
            "tested": one.tested,
            **parts("auroc", one.auroc),
            **parts("within_position", one.in_position),
            **parts("ece", one.ece),
            "ece_by_chance": one.by_chance,
            "mean_risk": one.risk,
            "rate": one.rate,
        }
        for one in results.transfers
    ]
    over = [
        {"row": label, "over": family, **parts("difference", one), "n": one.n}
        for label, found in results.over.items()
        for family, one in found.items()
    ]
    beside = [
        {
            "ours": pair[0],
            "published": pair[1],
            **parts("within_position", one),
            **parts("overall", results.ours_overall[pair]),
            "n": one.n,
        }
        for pair, one in results.ours.items()
    ]
    return {"detectors": table, "transfers": moved, "over": over, "ours": beside}


def labels_of(found: Sequence[str], most: int = 6) -> str:
    """Some names in a sentence."""
    listed = ", ".join(found[:most])
    return listed + (f" and {len(found) - most} more" if len(found) > most else "") if found else "none"
