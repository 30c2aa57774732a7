"""The page of a calibration: what was promised, what was reached, class by class, and what the guard does to texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.pages.figures import Figure, interval, number
from lvlm_saliency.studies.calibrate.parts import CALIBRATE, REPORT
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Cell, Finding, Page, Part, Table

if TYPE_CHECKING:
    from lvlm_saliency.studies.calibrate.study import Calibrate, Reached, Results
    from lvlm_saliency.studies.lab import Lab

TITLE = "The guard, calibrated"
LEAD = (
    "Conformal risk control (Angelopoulos et al. 2024) promises, on average over calibration pictures and new ones "
    "that are like them, that at most the stated share of a picture's correct objects is acted on. It promises nothing "
    "for one calibration set alone, nor for what becomes of a text after a sentence was written again."
)
MODES = {
    "risk": "the risk model alone",
    "ask": "the model's answer alone",
    "both": "risk, and the answer where in doubt",
}


def page(study: Calibrate, lab: Lab, results: Results) -> Page:
    """Findings, then tables."""
    return Page(
        title=TITLE,
        paper=LEAD,
        findings=list(findings(study, results)),
        parts=[
            Part("What acting above the threshold does", _how(results), [modes_table(results)]),
            Part("Class by class", "", [classes_table(results)]),
            *([Part("What becomes of the texts", "", [texts_table(results)])] if results.run is not None else []),
            Part(
                "How it was chosen", "", [*([tried_table(results)] if results.tried else []), pictures_table(results)]
            ),
        ],
        setup=lab.setup(),
        data={"classes": [_class(row) for row in results.reached[results.mode].classes]},
    )


def findings(study: Calibrate, results: Results) -> Iterator[Finding]:
    """What was promised and what was reached on the reporting pictures."""
    told = results.reached[results.mode]
    if told.threshold >= 1:
        least = results.chosen.calibration.modes[results.mode].least_loss
        yield Finding(
            FAILS,
            f"The guard will never act: {results.counts[CALIBRATE][0]} calibration pictures cannot promise a loss of "
            f"{study.recall_loss:.2%}; the smallest loss that they can is {least:.2%}. Give more pictures (--n), or "
            "allow more (--recall-loss).",
        )
        return
    kept = told.lost.high <= study.recall_loss
    verdict = HOLDS if kept else FAILS if told.lost.low > study.recall_loss else CANNOT_TELL
    yield Finding(
        verdict,
        f"At most {study.recall_loss:.2%} of a picture's correct objects are acted on: {_share(told.lost)} on "
        f"{results.counts[REPORT][0]} pictures that nothing was fitted on (threshold {told.threshold:.3f}).",
    )
    yield Finding(
        HOLDS if told.found.low > told.lost.high else CANNOT_TELL,
        f"Absent objects are acted on more often than correct ones: {_share(told.found)} of them, at {told.asked:.1f} "
        "questions a text.",
    )


def _share(estimate: Any) -> str:
    return f"{estimate.value:.2%} [{estimate.low:.2%}, {estimate.high:.2%}]"


def _how(results: Results) -> str:
    pictures, objects, absent = results.counts[REPORT]
    return (
        f"On greedy texts of {pictures} pictures that took no part in fitting: {objects} objects at their first "
        f"mention, {absent} of them absent. Lost: the share of a picture's correct objects above the threshold, mean "
        "over pictures. Found: the share of all absent objects above it."
    )


def modes_table(results: Results) -> Table:
    """Every mode that was calibrated."""
    rows = []
    for mode, told in results.reached.items():
        rows.append(
            (
                Cell(MODES[mode] + (" (this guard)" if mode == results.mode else "")),
                Cell(f"{told.threshold:.3f}" if told.threshold < 1 else "never acts"),
                Cell(*_cells(told.lost)),
                Cell(*_cells(told.found)),
                Cell(f"{told.asked:.2f}"),
            )
        )
    promised = next(iter(results.reached.values())).promised
    head = ("decision", "threshold", "lost %", "found %", "questions a text")
    return Table(f"promised: at most {promised:.2%} lost", head, tuple(rows))


def _cells(estimate: Any) -> tuple[str, str]:
    return f"{100 * estimate.value:.2f}", f"[{100 * estimate.low:.2f}, {100 * estimate.high:.2f}]"


def classes_table(results: Results) -> Table:
    """The commonest classes."""
    told: Reached = results.reached[results.mode]
    rows = [
        (Cell(name), Cell(f"{hit} of {right}"), Cell(f"{found} of {absent}"))
        for name, right, hit, absent, found in told.classes
    ]
    return Table("the commonest classes", ("object", "correct ones acted on", "absent ones acted on"), tuple(rows))


def _class(row: tuple[str, int, int, int, int]) -> dict[str, int | str]:
    names = ("object", "correct", "correct acted on", "absent", "absent acted on")
    return dict(zip(names, row, strict=True))


def texts_table(results: Results) -> Table:
    """Greedy decoding and the guard on the reporting pictures."""
    assert results.run is not None
    scores = next(iter(results.run.scores["benchmarks"].values()))
    ((part, entries),) = [(p, e) for p, e in scores["parts"].items() if p == "captions"]
    against = scores["against_greedy"][part][results.label]
    figures = [Figure("CHAIR_s", "lower"), Figure("CHAIR_i", "lower"), Figure("recall"), Figure("length", "", 1.0)]
    rows = []
    for label in (GREEDY, results.label):
        cells = [
            Cell(number(f, entries[label]["figures"][f.name]), interval(f, entries[label]["intervals"][f.name]))
            for f in figures
        ]
        rows.append((Cell("greedy" if label == GREEDY else "with the guard"), *cells))
    differences = [
        Cell(number(f, against[f.name]["difference"], True), interval(f, against[f.name]["interval"], True))
        for f in figures
    ]
    rows.append((Cell("difference"), *differences))
    return Table("captions of the reporting pictures", ("", *(f.name for f in figures)), tuple(rows))


def tried_table(results: Results) -> Table:
    """The candidates on the tuning pictures."""
    rows = [
        (Cell(kind), Cell(f"{missed} of {absent}"), Cell(f"{100 * lost:.2f}"))
        for kind, (missed, absent, lost) in results.tried.items()
    ]
    return Table(
        f"first stages on the tuning pictures (chosen: {results.chosen.kind})",
        ("classifier", "absent objects missed", "lost %"),
        tuple(rows),
    )


def pictures_table(results: Results) -> Table:
    """How many pictures, objects and absent objects each part has."""
    rows = [(Cell(name), *(Cell(str(count)) for count in counts)) for name, counts in results.counts.items()]
    return Table("the parts", ("part", "pictures", "objects", "absent"), tuple(rows))
