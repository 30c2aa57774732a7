"""Run comparison: the same system in several runs, on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lvlm_saliency.evaluation.scoring import count_table, difference
from lvlm_saliency.evaluation.summary.content import RunData, difference_cell
from lvlm_saliency.evaluation.summary.figures import shown
from lvlm_saliency.files.records import Problems
from lvlm_saliency.pages.tables import Cell, Table
from lvlm_saliency.stats.bootstrap import Bootstrap


def between_table(runs: Sequence[RunData], benchmark: str, part: str) -> Table | None:
    """Every later run minus the first, system by system, paired over the pictures that both scored.

    None where there is nothing to compare. Runs on other pictures are named in the note, not compared.
    """
    first, *others = runs
    bootstrap = Bootstrap(first.scores["bootstrap"]["resamples"])
    lines, strangers = [], []
    head: tuple[str, ...] = ()
    for other in others:
        if _pictures(other, benchmark) != _pictures(first, benchmark):
            strangers.append(other.name)
            continue
        for label in first.labels:
            if label not in other.labels:
                continue
            details = [run.detail(benchmark, label)[part] for run in (first, other)]
            mine, theirs = map(count_table, details)
            found = difference(bootstrap, theirs, mine, Problems("skip"))
            figures = shown(details[0]["benchmark"], found)
            head = ("system", *(figure.shown for figure in figures))
            cells = [difference_cell(figure, found[figure.name]) for figure in figures]
            lines.append((Cell(f"{label}: {other.name} − {first.name}"), *cells))
    if not lines and not strangers:
        return None
    note = "Paired over the pictures that both runs scored."
    if strangers:
        note += f" Not compared, because their pictures or settings of the benchmark differ: {', '.join(strangers)}."
    return Table(f"{benchmark}, {part}: between runs", head or ("system",), tuple(lines), note)


def _pictures(run: RunData, benchmark: str) -> dict[str, Any]:
    """What must be equal for answers to be comparable. Prompts are not in it: each model has its own chat template."""
    apart = ("prompts_sha256", "first_prompt")
    return {name: value for name, value in run.config["benchmarks"][benchmark].items() if name not in apart}
