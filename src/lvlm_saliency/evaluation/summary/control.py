"""The length-matched control: greedy captions cut to each system's length, so that mere shortness is called that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lvlm_saliency.evaluation.summary.content import Row, difference_cell
from lvlm_saliency.evaluation.summary.figures import FIGURES, Figure, interval, number, reading
from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.pages.tables import Cell, Table

JUDGED = ("CHAIR_s", "CHAIR_i", "CHAIR", "Hal")
BESIDE = ("recall", "Cover")
NOTE = (
    "Control: the greedy caption of each picture, cut to as many words as the system wrote about it, scored anew. "
    "Differences are system minus control, paired over pictures."
)


def control_table(rows: Sequence[Row], benchmark: str, part: str) -> Table | None:
    """Each system beside its control, with a reading of what is left of its gain; None where there is no caption."""
    lines = []
    figures: list[Figure] = []
    for row in rows:
        found = _found(row, benchmark, part)
        if found is None:
            continue
        control, differences = found
        figures = [FIGURES[name] for name in (*JUDGED, *BESIDE) if name in control["figures"]]
        cells = [Cell(row.name)]
        for figure in figures:
            bounds = interval(figure, control["intervals"][figure.name])
            cells.append(Cell(number(figure, control["figures"][figure.name]), bounds))
        cells += [difference_cell(figure, differences.get(figure.name)) for figure in figures]
        cells.append(Cell("; ".join(f"{name}: {text}" for name, text in readings(row, benchmark, part).items())))
        lines.append(tuple(cells))
    if not lines:
        return None
    head = ("system", *(f"control {f.shown}" for f in figures), *(f"Δ {f.shown}" for f in figures), "reading")
    return Table(f"{benchmark}: at the same length", head, tuple(lines), NOTE)


def readings(row: Row, benchmark: str, part: str) -> dict[str, str]:
    """For each judged figure, what its difference to greedy means once length is held equal."""
    found = _found(row, benchmark, part)
    if found is None:
        return {}
    plain = row.run.scores["benchmarks"][benchmark]["against_greedy"][part][row.label]
    words = row.run.scores["benchmarks"][benchmark]["answers"]
    shorter = words[row.label]["words"] < words[GREEDY]["words"]
    return {
        name: reading(FIGURES[name], plain[name], found[1][name], shorter)
        for name in JUDGED
        if name in plain and name in found[1]
    }


def matched_differences(row: Row, benchmark: str, part: str) -> dict[str, Any]:
    """System minus control by figure; empty where there is no control."""
    found = _found(row, benchmark, part)
    return {} if found is None else found[1]


def _found(row: Row, benchmark: str, part: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    matched = row.run.scores["benchmarks"][benchmark]["length_matched"]
    if row.label == GREEDY or part not in matched.get("figures", {}):
        return None
    return matched["figures"][part][row.label], matched["differences"][part][row.label]
