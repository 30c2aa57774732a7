"""The paper's figures and a run's, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lvlm_saliency.evaluation.summary.content import RunData
from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED, system
from lvlm_saliency.pages.figures import interval, number
from lvlm_saliency.pages.tables import Cell, Table
from lvlm_saliency.reproduce.claims import CLAIMED, Measured, judged
from lvlm_saliency.reproduce.paper import NOTE, Reported, Setting
from lvlm_saliency.studies.page import Finding, Page, Part

CAPTIONS, QUESTIONS = ("CHAIR_s", "CHAIR_i"), ("f1", "accuracy")
ASKED = (
    "Greedy decoding is the baseline here, with sampling beside it; the paper does not say what its own was. Every row "
    "has the same limit on new tokens. A verdict comes from the interval of the paired difference to greedy decoding."
)


@dataclass(frozen=True)
class Result:
    """A model's run, and the paper's figures for it (None: there are none here)."""

    name: str
    run: RunData
    rows: Sequence[Setting]
    reported: Reported | None
    seed: int

    def label(self, row: Setting) -> str:
        """The system of a row, as the run names it."""
        return system(row.spec, self.seed).label if row.spec else GREEDY


def page(title: str, results: Sequence[Result], command: str, figures: Sequence[str]) -> Page:
    """The page of a table: verdicts first, then a table per model, then how it was made."""
    findings = [finding for result in results for finding in _findings(result, figures, len(results) > 1)]
    parts = [Part(result.name, _lead(result), [_table(result, figures)]) for result in results]
    first = results[0].run
    settings = first.config["settings"]
    setup = {
        "benchmarks": ", ".join(f"{n} ({c['pictures']} pictures)" for n, c in first.config["benchmarks"].items()),
        "most new tokens": str(settings["max_new_tokens"]),
        "seed": str(settings["seed"]),
        "machine": first.config["machine"],
        **first.config["versions"],
    }
    rows = [
        {
            "model": result.name,
            "system": row.name,
            "figure": name,
            "paper": _paper(result, row, name),
            **_here(result, row, name),
        }
        for result in results
        for row in result.rows
        for name in figures
    ]
    told = f"{ASKED} {NOTE}" if set(figures) - {*CAPTIONS, *QUESTIONS} else ASKED
    return Page(title, told, findings, parts, setup, command, {"figures": rows})


def _findings(result: Result, figures: Sequence[str], named: bool) -> list[Finding]:
    found = []
    for row in result.rows:
        for figure in [one for one in figures if one in CLAIMED and row.spec]:
            finding = judged(row, figure, _measured(result, row, figure), result.reported)
            found.append(Finding(finding.verdict, f"{result.name}: {finding.text}") if named else finding)
    return found


def _lead(result: Result) -> str:
    if result.reported is None:
        return "The paper reports nothing of this model that is at hand: its claims are judged by their direction."
    return f"Beside the published figures of {result.reported.model}."


def _table(result: Result, figures: Sequence[str]) -> Table:
    head = ["system"]
    for name in figures:
        shown = FIGURES[name].shown
        head += [f"{shown}, paper", f"{shown}, here"] if result.reported else [shown]
    captions = "CHAIR_s" in figures
    names = [*head, *(("recall", "words") if captions else ())]
    lines = [_line(result, figures, row.name, row, result.label(row)) for row in result.rows]
    lines.insert(1, _line(result, figures, "sampling", None, SAMPLED))
    foot = "In percent; words per caption." if captions else "In percent."
    return Table(f"{result.name}: the paper and here", tuple(names), tuple(lines), foot)


def _line(result: Result, figures: Sequence[str], name: str, row: Setting | None, label: str) -> tuple[Cell, ...]:
    cells = [Cell(name)]
    for figure in figures:
        if result.reported is not None:
            paper = None if row is None else _paper(result, row, figure)
            cells.append(Cell("–" if paper is None else f"{paper:.1f}"))
        cells.append(_cell(result, label, figure))
    if "CHAIR_s" not in figures:
        return tuple(cells)
    return (*cells, _cell(result, label, "recall", CAPTIONS), Cell(_words(result, label)))


def _benchmark(result: Result, figure: str, like: Sequence[str] = ()) -> tuple[str, str] | None:
    """The benchmark and part that hold a figure, beside those of `like`."""
    for name, found in result.run.scores["benchmarks"].items():
        parts = found["parts"]
        for part in sorted(parts, key=lambda one: one not in ("captions", "all")):
            figures = parts[part][GREEDY]["figures"]
            if figure in figures and all(one in figures for one in like):
                return name, part
    return None


def _alike(figure: str) -> Sequence[str]:
    """The figures that stand in one part of a run's scores with this one."""
    return next((group for group in (CAPTIONS, QUESTIONS) if figure in group), (figure,))


def _entry(result: Result, label: str, figure: str, like: Sequence[str] = ()) -> dict[str, Any] | None:
    """Figures and intervals of a system, in the part that holds this figure."""
    place = _benchmark(result, figure, like or _alike(figure))
    return place and result.run.scores["benchmarks"][place[0]]["parts"][place[1]].get(label)


def _cell(result: Result, label: str, figure: str, like: Sequence[str] = ()) -> Cell:
    entry = _entry(result, label, figure, like)
    if not entry:
        return Cell("–")
    shown = FIGURES[figure]
    return Cell(number(shown, entry["figures"][figure]), interval(shown, entry["intervals"][figure]))


def _measured(result: Result, row: Setting, figure: str) -> Measured:
    place = _benchmark(result, figure, _alike(figure))
    if place is None:
        return Measured(None, None)
    found, label = result.run.scores["benchmarks"][place[0]], result.label(row)
    matched = found["length_matched"].get("differences", {}).get(place[1], {}).get(label, {})
    return Measured(found["against_greedy"][place[1]].get(label, {}).get(figure), matched.get(figure))


def _paper(result: Result, row: Setting, figure: str) -> float | None:
    return None if result.reported is None else row.value(figure)


def _here(result: Result, row: Setting, figure: str) -> dict[str, Any]:
    entry = _entry(result, result.label(row), figure)
    if not entry:
        return {"here": None, "interval": None}
    return {"here": entry["figures"][figure], "interval": entry["intervals"][figure]}


def _words(result: Result, label: str) -> str:
    place = _benchmark(result, "CHAIR_s")
    answers = place and result.run.scores["benchmarks"][place[0]]["answers"].get(label)
    return f"{answers['words']:.1f}" if answers else "–"
