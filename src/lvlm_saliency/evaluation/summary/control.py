"""The length-matched control: greedy captions cut to each system's length, which shows the effect of length alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lvlm_saliency.evaluation.summary.content import Row, difference_cell, scorer_of, titled
from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.pages.figures import Figure, interval, number, reading
from lvlm_saliency.pages.tables import Cell, Table

NOTE = (
    "Control: the greedy caption of each picture, cut to as many words as the system wrote about it, scored anew. "
    "Differences are system minus control, paired over pictures."
)
SHUFFLED = (
    "Control: greedy captions cut to the lengths that the system wrote, dealt out to other pictures: as short, without "
    "the system's knowledge of where to stop."
)


def control_table(rows: Sequence[Row], benchmark: str, part: str) -> Table | None:
    """Each system beside its control, with a reading of what is left of its gain; None where there is no caption."""
    lines = []
    figures: list[Figure] = []
    for row in rows:
        found = _found(row, benchmark, part)
        if found is None or not (figures := _compared(row, benchmark, part, found[0])):
            continue
        read = "; ".join(f"{FIGURES[name].shown}: {text}" for name, text in readings(row, benchmark, part).items())
        lines.append((Cell(row.name), *_cells(figures, *found), Cell(read)))
    if not lines:
        return None
    head = ("system", *_head(figures), "reading")
    return Table(f"{titled(benchmark, part)}: at the same length", head, tuple(lines), NOTE)


def shuffled_table(rows: Sequence[Row], benchmark: str, part: str) -> Table | None:
    """Each system beside greedy captions of its lengths, shuffled over pictures; None where a run has no such control
    (it was scored before there was one, or has no captions)."""
    lines = []
    figures: list[Figure] = []
    for row in rows:
        found = _found(row, benchmark, part, "length_shuffled")
        if found is not None:
            length = [FIGURES["length"]] if "length" in found[0]["figures"] else []
            figures = [*length, *_compared(row, benchmark, part, found[0])]
            lines.append((Cell(row.name), *_cells(figures, *found)))
    if not lines:
        return None
    return Table(
        f"{titled(benchmark, part)}: lengths shuffled over pictures",
        ("system", *_head(figures)),
        tuple(lines),
        SHUFFLED,
    )


def _compared(row: Row, benchmark: str, part: str, control: dict[str, Any]) -> list[Figure]:
    scorer = scorer_of([row], benchmark, part)
    return [FIGURES[name] for name in (*scorer.judged, *scorer.beside) if name in control["figures"]]


def _head(figures: Sequence[Figure]) -> tuple[str, ...]:
    return (*(f"control {f.shown}" for f in figures), *(f"Δ {f.shown}" for f in figures))


def _cells(figures: Sequence[Figure], control: dict[str, Any], differences: dict[str, Any]) -> tuple[Cell, ...]:
    """The control's figures, then the differences of the system to them."""
    own = (Cell(number(f, control["figures"][f.name]), interval(f, control["intervals"][f.name])) for f in figures)
    return (*own, *(difference_cell(figure, differences.get(figure.name)) for figure in figures))


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
        for name in scorer_of([row], benchmark, part).judged
        if name in plain and name in found[1]
    }


def matched_differences(row: Row, benchmark: str, part: str) -> dict[str, Any]:
    """System minus control by figure; empty where there is no control."""
    found = _found(row, benchmark, part)
    return {} if found is None else found[1]


def _found(
    row: Row, benchmark: str, part: str, kind: str = "length_matched"
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    control = row.run.scores["benchmarks"][benchmark].get(kind, {})
    if row.label == GREEDY or part not in control.get("figures", {}):
        return None
    return control["figures"][part][row.label], control["differences"][part][row.label]
