"""The plots of one part of a benchmark."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from lvlm_saliency.evaluation.summary.content import Row, scorer_of
from lvlm_saliency.evaluation.summary.control import matched_differences
from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.pages import svg
from lvlm_saliency.pages.figures import verdict


def plots(rows: Sequence[Row], benchmark: str, part: str) -> tuple[str, ...]:
    """Differences to greedy decoding first, then how much is named against how much of that is wrong, then time."""
    drawn = [
        _forest([row for row in rows if row.label != GREEDY], benchmark, part),
        _trade_off(rows, benchmark, part),
        svg.bars(
            f"milliseconds per token, {benchmark}",
            "ms",
            [(row.name, 1000 * row.run.cost(benchmark, row.label)["seconds_per_token"]) for row in rows],
        ),
    ]
    return tuple(filter(None, drawn))


def _forest(rows: Sequence[Row], benchmark: str, part: str) -> str:
    found = [row.run.scores["benchmarks"][benchmark]["against_greedy"][part][row.label] for row in rows]
    names = scorer_of(rows, benchmark, part).plotted if rows else ()
    controls = [matched_differences(row, benchmark, part) for row in rows]
    panels = []
    for name in names:
        if not all(name in one for one in found):
            continue
        marks = []
        for plain, control in zip(found, controls, strict=True):
            both = [_mark(name, plain[name], "plain")]
            if name in control and name != "length":
                both.append(_mark(name, control[name], "matched"))
            marks.append(both)
        unit = " (points)" if FIGURES[name].scale == 100 else ""
        panels.append((FIGURES[name].shown + unit, marks))
    return svg.forest(f"differences to greedy, {benchmark} {part}", [row.name for row in rows], panels[:5])


def _mark(name: str, found: dict[str, Any], kind: str) -> svg.Mark:
    figure = FIGURES[name]
    low, high = (float("nan") if bound is None else bound * figure.scale for bound in found["interval"])
    value = float("nan") if found["difference"] is None else found["difference"] * figure.scale
    return svg.Mark(value, low, high, kind, verdict(figure, found))


def _trade_off(rows: Sequence[Row], benchmark: str, part: str) -> str:
    """How much is named against how much of it is hallucinated; a method at several thresholds is a curve."""
    for across, up in scorer_of(rows, benchmark, part).across:
        entries = {row.name: row.run.scores["benchmarks"][benchmark]["parts"][part][row.label] for row in rows}
        shown = [row for row in rows if {across, up} <= set(entries[row.name]["figures"])]
        if not shown:
            continue
        curves = sweeps(shown)
        short = {row.name: setting_of(row) for curve in curves for row in curve[1:]}
        points = {
            row.name: svg.Point(
                short.get(row.name, row.name), _span(entries[row.name], across), _span(entries[row.name], up)
            )
            for row in shown
        }
        x_name, y_name = (FIGURES[name].shown + " (%)" for name in (across, up))
        lines = [[points[row.name] for row in curve] for curve in curves]
        title = f"{y_name} against {x_name}, {benchmark} {part}"
        return svg.scatter(title, x_name, y_name, list(points.values()), lines)
    return ""


SWEPT = ("threshold", "recall_loss")
"""Settings that move a method along a curve of its own: how much is acted on."""


def sweeps(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of a run that are one system but for `SWEPT`, at least two of them, in the order of that setting."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        records = row.run.config["systems"].get(row.label) or []
        if any(name in record for record in records for name in SWEPT):
            kept = [{name: value for name, value in one.items() if name not in SWEPT} for one in records]
            found.setdefault(f"{row.run.name} {json.dumps(kept, sort_keys=True)}", []).append(row)
    return [sorted(some, key=_swept) for some in found.values() if len(some) > 1]


def _swept(row: Row) -> tuple[float, ...]:
    """Where a row stands in its sweep; what acts most comes first."""
    records = row.run.config["systems"][row.label]
    losses = [one.get("recall_loss") or 0.0 for one in records]
    thresholds = [-1.0 if one.get("threshold") is None else one["threshold"] for one in records]
    return (max(thresholds), -max(losses))


def setting_of(row: Row) -> str:
    """The setting that tells a row from the others of its sweep, as it was written; the row's name where none was."""
    chosen = [piece for piece in re.split(r"[:,+]", row.label) if piece.partition("=")[0] in SWEPT]
    return ", ".join(chosen) or row.name


def _span(entry: dict[str, Any], name: str) -> tuple[float, float, float]:
    value = entry["figures"][name]
    low, high = entry["intervals"][name]

    def scaled(one: float | None) -> float:
        return float("nan") if one is None else one * FIGURES[name].scale

    return scaled(value if low is None else low), scaled(value), scaled(value if high is None else high)
