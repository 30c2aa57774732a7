"""What a summary says, apart from how it looks: sections of tables and plots over one or several runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lvlm_saliency.benchmarks.registry import scores_of, spec
from lvlm_saliency.benchmarks.spec import Scores
from lvlm_saliency.evaluation.cost import summed
from lvlm_saliency.evaluation.folder import RunFolder
from lvlm_saliency.evaluation.summary.figures import FIGURES, shown
from lvlm_saliency.evaluation.systems import GREEDY, System
from lvlm_saliency.model.cut_off import CUT
from lvlm_saliency.pages.figures import Figure, interval, number, too_few, verdict
from lvlm_saliency.pages.tables import Cell, Table
from lvlm_saliency.stats.bootstrap import MIN_IMAGES, MIN_RESAMPLES

NOTHING_TESTED = (
    "Nothing was tested: no resamples were drawn (resamples 0), so no difference has an interval or a mark."
)
TOO_FEW_TO_TEST = (
    "Nothing was tested: too few resamples were drawn for an interval ({resamples}; "
    f"it takes {MIN_RESAMPLES}), so no difference has an interval or a mark."
)


@dataclass(frozen=True)
class Section:
    """A benchmark: tables of its main part, and of its other parts under their names."""

    title: str
    lead: str
    tables: tuple[Table, ...]
    more: tuple[tuple[str, tuple[Table, ...]], ...] = ()
    plots: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """What a report says: sections under a title, and how the runs were made."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    setup: tuple[Table, ...]


@dataclass(frozen=True)
class Row:
    """One system of one run, as tables list it."""

    run: RunData
    label: str
    named: bool

    @property
    def name(self) -> str:
        return f"{self.run.name}: {self.label}" if self.named else self.label


@dataclass
class RunData:
    """A finished run, read from its folder."""

    folder: RunFolder
    config: dict[str, Any] = field(init=False)
    scores: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.scores = self.folder.load("scores.json")
        self.config = self.folder.config()

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def labels(self) -> list[str]:
        return list(self.config["systems"])

    def system(self, label: str) -> System:
        return System(label, ())

    @cached_property
    def _costs(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {
            (benchmark, label): summed(self.folder.rows("cost", benchmark, self.system(label)))
            for benchmark in self.scores["benchmarks"]
            for label in self.labels
        }

    def cost(self, benchmark: str, label: str) -> dict[str, Any]:
        """See `cost.summed`."""
        return self._costs[benchmark, label]

    def detail(self, benchmark: str, label: str) -> dict[str, Any]:
        """The scorers' own results."""
        return self.folder.load(f"details/{benchmark}/{self.system(label).slug}.json")


COST_HEAD = ("cut off", "ms/token", "fwd/token", "bwd/token", "peak memory", "skipped")
COST_NOTE = (
    f"length, words: mean per answer; cut off: share of answers that the limit on new tokens ended ({CUT} where there "
    "are any: what they would have said next counts for nothing); rejected: draws per "
    "token; fwd, bwd: forward and backward passes per token, a batch counting as one (with beams, each sample has the "
    "said number of rows in it); skipped: items whose picture cannot be read."
)


def main_table(rows: Sequence[Row], benchmark: str, part: str) -> Table:
    """The figures of every system with their intervals, length and cost beside them."""
    figures = _figures(rows[0], benchmark, part)
    extras = list(dict.fromkeys(name for row in rows for name in _entry(row, benchmark, part)["extra"]))
    gated = any("rejected_per_token" in _shape(row, benchmark) for row in rows)
    measured = FIGURES["length"] in figures
    lines = []
    for row in rows:
        entry, shape = _entry(row, benchmark, part), _shape(row, benchmark)
        cells = [Cell(row.name)]
        cells += [
            Cell(number(f, entry["figures"].get(f.name)), interval(f, entry["intervals"].get(f.name, (None, None))))
            for f in figures
        ]
        cells += [Cell(_percent(entry["extra"].get(name))) for name in extras]
        cells += [Cell(_rate(shape.get("rejected_per_token")))] if gated else []
        cells += [] if measured else [Cell(number(FIGURES["length"], shape["words"]))]
        lines.append((*cells, *_cost_cells(row, benchmark, shape)))
    middle = (*extras, *(["rejected/token"] if gated else []), *([] if measured else ["words"]))
    head = ("system", *map(_headed, figures), *middle, *COST_HEAD)
    return Table(titled(benchmark, part), head, tuple(lines), COST_NOTE)


def cost_table(rows: Sequence[Row], benchmark: str) -> Table:
    """Length and cost of every system, for answers that are scored elsewhere."""
    lines = []
    for row in rows:
        shape = _shape(row, benchmark)
        length = Cell(number(FIGURES["length"], shape["words"]))
        lines.append((Cell(row.name), length, *_cost_cells(row, benchmark, shape)))
    return Table(benchmark, ("system", "words", *COST_HEAD), tuple(lines), COST_NOTE)


def difference_table(rows: Sequence[Row], benchmark: str, part: str) -> Table:
    """Each system minus greedy decoding, paired over pictures."""
    figures = _figures(rows[0], benchmark, part)
    lines = []
    for row in rows:
        if row.label != GREEDY:
            found = _against_greedy(row, benchmark, part)
            lines.append((Cell(row.name), *(difference_cell(f, found.get(f.name)) for f in figures)))
    level = rows[0].run.scores["bootstrap"]
    few = any(too_few(one) for row in rows for one in _against_greedy(row, benchmark, part).values())
    note = (
        (TOO_FEW_TO_TEST if level["resamples"] else NOTHING_TESTED).format(resamples=level["resamples"])
        if level["resamples"] < MIN_RESAMPLES
        else f"Fewer than {MIN_IMAGES} pictures: an interval of so few is no verdict, and nothing is marked."
        if few
        else f"Paired over pictures: {level['resamples']:,} bootstrap resamples, {level['level']:.0%} intervals. "
        "Marked where the interval leaves 0 out; no correction is made for looking at many figures."
    )
    return Table(
        f"{titled(benchmark, part)}: difference to greedy", ("system", *map(_headed, figures)), tuple(lines), note
    )


def _against_greedy(row: Row, benchmark: str, part: str) -> dict[str, Any]:
    return row.run.scores["benchmarks"][benchmark]["against_greedy"].get(part, {}).get(row.label, {})


def difference_cell(figure: Figure, found: dict[str, Any] | None) -> Cell:
    """A signed difference with its interval, toned where the interval leaves 0 out."""
    if found is None:
        return Cell("–")
    bounds = interval(figure, found["interval"], sign=True)
    return Cell(number(figure, found["difference"], sign=True), bounds, verdict(figure, found))


def _cost_cells(row: Row, benchmark: str, shape: dict[str, Any]) -> tuple[Cell, ...]:
    cost = row.run.cost(benchmark, row.label)
    rows = cost["rows_per_token"]
    sizes = ", ".join(map(str, cost["batch_sizes"][-2:]))
    return (
        Cell(_percent(shape["cut_off"]), _cut_note(shape)),
        Cell(f"{1000 * cost['seconds_per_token']:.1f}", f"batch {sizes}"),
        Cell(f"{cost['forwards_per_token']:.2f}", f"of {rows} rows" if rows > 1 else ""),
        Cell(f"{cost['backwards_per_token']:.2f}"),
        Cell(_memory(cost["peak_bytes"])),
        Cell(str(row.run.scores["benchmarks"][benchmark]["skipped"])),
    )


def scorer_of(rows: Sequence[Row], benchmark: str, part: str) -> Scores:
    """How results of this part are read."""
    return scores_of(_entry(rows[0], benchmark, part)["benchmark"])


def _figures(row: Row, benchmark: str, part: str) -> list[Figure]:
    entry = _entry(row, benchmark, part)
    return shown(entry["benchmark"], entry["figures"])


def _cut_note(shape: dict[str, Any]) -> str:
    if "shortened" in shape:  # by a benchmark's own rule
        return f"last sentence dropped in {_percent(shape['shortened'])}"
    return CUT if shape["cut_off"] else ""


def _entry(row: Row, benchmark: str, part: str) -> dict[str, Any]:
    return row.run.scores["benchmarks"][benchmark]["parts"][part][row.label]


def _shape(row: Row, benchmark: str) -> dict[str, Any]:
    return row.run.scores["benchmarks"][benchmark]["answers"][row.label]


def _headed(figure: Figure) -> str:
    return figure.shown + {"lower": " ↓", "higher": " ↑", "": ""}[figure.better]


def titled(benchmark: str, part: str) -> str:
    """A benchmark, and its part where that is not the whole of it."""
    return benchmark if part in spec(benchmark).whole else f"{benchmark}, {part}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _memory(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
