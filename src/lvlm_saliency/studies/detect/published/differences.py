"""The tables of differences: ours beside published ones, class by class of cost and pair by pair, and over controls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.detect.published.compare import FIRST
from lvlm_saliency.studies.detect.published.judge import POOLED
from lvlm_saliency.studies.detect.published.lost import AFFIRMED
from lvlm_saliency.studies.detect.published.rows import CLASSES
from lvlm_saliency.studies.detect.published.tables import number_of, ranked, shown
from lvlm_saliency.studies.detect.tables import signed
from lvlm_saliency.studies.page import Cell, Table

if TYPE_CHECKING:
    from lvlm_saliency.studies.detect.published.study import Results


def by_class(results: Results) -> Table:
    """Who wins in each class of cost: the best of ours beside the best published one of that class, and beside the best
    of that class and the cheaper ones."""
    lines = []
    for number, name in enumerate(CLASSES):
        mine = _best(results, [row.label for row in results.main() if row.ours and row.cost == name])
        for kind, costs in (
            ("of this class", CLASSES[number : number + 1]),
            ("of no higher cost", CLASSES[: number + 1]),
        ):
            rivals = [row.label for row in results.main() if not row.ours and row.cost in costs]
            other = _best(results, rivals)
            if mine is None or other is None or (kind != "of this class" and not number):
                continue
            within, overall = results.ours[mine, other], results.ours_overall[mine, other]
            lines.append(
                (
                    Cell(f"{number}: {name}"),
                    Cell(f"{mine}, {shown(_within(results, mine))}"),
                    Cell(f"{other} (best {kind}), {shown(_within(results, other))}"),
                    Cell(signed(within), tone=_tone(within)),
                    Cell(signed(overall), tone=_tone(overall)),
                    Cell(_winner(within, mine, other)),
                )
            )
    head = (
        "cost class",
        "ours, within position",
        "published, within position",
        "difference",
        "over all pairs",
        "who wins",
    )
    note = (
        "Position-matched AUROC on first mentions. The intervals of a column hold for all pairs of a row of ours and a "
        "published one of no higher cost at once (95 %, max-t over the resamples)."
    )
    return Table("Who wins, class by class of cost", head, tuple(lines), note)


def _best(results: Results, labels: Sequence[str]) -> str | None:
    return max(labels, key=lambda label: number_of(_within(results, label)), default=None)


def _within(results: Results, label: str) -> float:
    return results.reached[label][POOLED, FIRST].in_position.value


def _winner(found: Estimate, mine: str, other: str) -> str:
    """Whose the class is, by the interval."""
    return mine if found.low > 0 else other if found.high < 0 else "not told apart"


def against_controls(results: Results) -> Table:
    """Differences from the controls, intervals that hold for all detectors at once."""
    lines = []
    for label in ranked(results):
        if label in results.controls:
            continue
        found = results.over[label]
        cells = [Cell(signed(found[name]), tone=_tone(found[name])) for name in FAMILIES]
        lines.append((Cell(label), *cells))
    head = ("detector", *FAMILIES.values())
    note = (
        "Differences of AUROC on first mentions. The intervals of a column hold for all its detectors at once (95 %, "
        "max-t over the resamples); within position: pairs of equal position and way of decoding."
    )
    return Table("Beside what needs no model", head, tuple(lines), note)


FAMILIES = {
    "position": "over position",
    "class prior": "over the class prior",
    "repetition": "over repetition",
    "wording": "over wording",
    "in position": "over chance, within position",
    "wording in position": "over wording, within position",
}


def _tone(found: Estimate) -> str:
    return "better" if found.low > 0 else "worse" if found.high < 0 else ""


def ours(results: Results) -> Table:
    """Every row of ours over the published ones of no higher cost class."""
    lines = [
        (Cell(one), Cell(other), Cell(signed(found), tone=_tone(found)), Cell(signed(overall), tone=_tone(overall)))
        for (one, other), found in sorted(results.ours.items(), key=lambda pair: (pair[0][0], _known(pair[1].value)))
        for overall in [results.ours_overall[one, other]]
    ]
    note = (
        "AUROC of ours less that of the published one, first mentions. The intervals of a column hold for all of its "
        "pairs at once (95 %, max-t over the resamples)."
    )
    head = ("ours", "published, of no higher cost class", "within position", "over all pairs")
    return Table("Ours beside the published ones", head, tuple(lines), note)


def _known(value: float) -> float:
    return math.inf if math.isnan(value) else value


def where_lost(results: Results, most: int = 12) -> Table:
    """The best rows: how few words lose most of their pairs, and whether the model affirms those words."""
    lines = []
    for label in sorted(results.lost, key=lambda label: -number_of(_within(results, label)))[:most]:
        one = results.lost[label]
        asked = (
            ("–", "–", "–")
            if one.affirmed is None
            else (str(one.affirmed), _percent(one.of_affirmed), shown(one.without))
        )
        cells = (shown(_within(results, label)), f"{one.lost:.0f} of {one.pairs}", str(one.half), str(one.most), *asked)
        lines.append((Cell(label), *map(Cell, cells)))
    head = (
        "detector",
        "within position",
        "pairs lost",
        "words that lose half of them",
        "four fifths",
        "words that the model affirms",
        "their share of the lost pairs",
        "within position without them",
    )
    words = max((one.words for one in results.lost.values()), default=0)
    note = (
        f"Pairs of a hallucinated and a correct first mention of equal position; {words} words are hallucinated. "
        f"Affirmed: asked whether the object is there, the model's log-odds of no over yes lie below {AFFIRMED:g}."
    )
    return Table("Where the pairs are lost", head, tuple(lines), note)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.0%}"
