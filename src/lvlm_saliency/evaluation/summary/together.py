"""Multiple comparisons: how many intervals exclude 0 by chance, and which still do after Bonferroni's correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvlm_saliency.evaluation.scoring import count_table
from lvlm_saliency.evaluation.summary.content import RunData, titled
from lvlm_saliency.evaluation.summary.figures import shown
from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.pages.figures import Figure, verdict
from lvlm_saliency.pages.tables import Cell, Table
from lvlm_saliency.stats.bootstrap import MIN_RESAMPLES, Bootstrap

MANY = 3
"""Number of comparisons from which on there is a table."""
PER_SYSTEM = 1000
"""Resamples for each comparison: 25 of them lie in each tail of a corrected interval, however many there are."""


def together_table(run: RunData, benchmark: str, part: str) -> Table | None:
    """For each figure, which systems differ from greedy decoding one by one, and which by Bonferroni's correction.

    None where few systems are compared or no intervals are drawn.
    """
    others = [label for label in run.labels if label != GREEDY]
    settings = run.scores["bootstrap"]
    if len(others) < MANY or settings["resamples"] < MIN_RESAMPLES:
        return None
    details = {label: run.detail(benchmark, label)[part] for label in (GREEDY, *others)}
    scorer = details[GREEDY]["benchmark"]
    tables = {label: count_table(one) for label, one in details.items()}
    base = tables.pop(GREEDY)
    level, seed = settings["level"], settings["seed"]
    strict = 1 - (1 - level) / len(others)
    resamples = max(settings["resamples"], PER_SYSTEM * len(others))
    corrected = {
        label: {name: {**one, "pictures": len(base.images)} for name, one in found.items()}
        for label, found in Bootstrap(resamples, seed, strict).differences_of_all(tables, base).items()
    }
    single = run.scores["benchmarks"][benchmark]["against_greedy"][part]
    lines = []
    for figure in shown(scorer, single[others[0]]):
        alone, all_at_once = (_differing(figure, found) for found in (single, corrected))
        lines.append((Cell(figure.shown), Cell(str(len(alone))), Cell(_listed(alone)), Cell(_listed(all_at_once))))
    head = ("figure", f"of {len(others)} leave 0 out", "which", f"and with {strict:.2%} intervals")
    note = (
        f"With {level:.0%} intervals and {len(others)} systems that all equalled greedy decoding, "
        f"{(1 - level) * len(others):.1f} would leave 0 out by chance in each line. The last column allows for that: "
        f"its intervals hold for all {len(others)} systems at once with {level:.0%} (Bonferroni; "
        f"{resamples:,} resamples)."
    )
    return Table(f"{titled(benchmark, part)}: all systems at once", head, tuple(lines), note)


def _differing(figure: Figure, found: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The verdict on each system whose interval leaves 0 out."""
    verdicts = {label: verdict(figure, differences.get(figure.name)) for label, differences in found.items()}
    return {label: said for label, said in verdicts.items() if said}


def _listed(verdicts: Mapping[str, str]) -> str:
    kinds: Sequence[str] = ("better", "worse", "changed")
    parts = {kind: [label for label, said in verdicts.items() if said == kind] for kind in kinds}
    return "; ".join(f"{kind}: {', '.join(labels)}" for kind, labels in parts.items() if labels) or "none"
