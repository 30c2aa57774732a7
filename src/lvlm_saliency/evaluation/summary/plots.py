"""The plots of one part of a benchmark."""

from __future__ import annotations

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
    """How much is named against how much of it is hallucinated."""
    points = []
    for across, up in scorer_of(rows, benchmark, part).across:
        for row in rows:
            entry = row.run.scores["benchmarks"][benchmark]["parts"][part][row.label]
            if across in entry["figures"] and up in entry["figures"]:
                points.append(svg.Point(row.name, _span(entry, across), _span(entry, up)))
        if points:
            names = [FIGURES[name].shown + " (%)" for name in (across, up)]
            return svg.scatter(f"{names[1]} against {names[0]}, {benchmark} {part}", *names, points)
    return ""


def _span(entry: dict[str, Any], name: str) -> tuple[float, float, float]:
    value = entry["figures"][name]
    low, high = entry["intervals"][name]
    spread = [low if low is not None else value, value, high if high is not None else value]
    return tuple(float("nan") if one is None else one * FIGURES[name].scale for one in spread)
