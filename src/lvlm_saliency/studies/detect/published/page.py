"""The page of the comparison: what was found, in plain words, then tables and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lvlm_saliency.studies.detect.published import differences, figures, tables
from lvlm_saliency.studies.detect.published.compare import FIRST
from lvlm_saliency.studies.detect.published.judge import POOLED
from lvlm_saliency.studies.detect.published.rows import AS_SHIPPED, CLASSES
from lvlm_saliency.studies.detect.published.tables import labels_of, number_of, way_name
from lvlm_saliency.studies.detect.tables import signed
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Finding, Page, Part, Picture

if TYPE_CHECKING:
    from lvlm_saliency.stats.calibration import Calibration
    from lvlm_saliency.studies.detect.published.study import Results
    from lvlm_saliency.studies.lab import Lab

PAPER = (
    "papers on detectors report areas from .6 to .9 on label sets of their own, mostly without saying what a word's "
    "position, its class or the words around it would reach."
)
LOSS = 0.02
"""What does not matter: AUROC within this of a rival."""
ERROR = 0.01
"""A calibration error that does not matter."""
AS_IT_STANDS = {"risk": "The shipped risk as it stands", AS_SHIPPED: "The shipped causal risk as it stands"}


def page(lab: Lab, results: Results) -> Page:
    """The whole page."""
    words, bad, pictures = results.counts[POOLED, FIRST]
    scale = (
        f"{words} first mentions of objects ({bad} hallucinated) in {tables.together(results)} texts about {pictures} "
        "pictures. Everything that is fitted (classifiers, scales, class means, Platt's calibration, class priors, "
        "the wording control) is fitted on the other four fifths of the pictures, on all mentions. Position is matched "
        "exactly, within a way of decoding. A word without a score is not counted as 0: it lowers the coverage. "
        + _missing(results)
    )
    parts = [
        Part(
            "The table",
            scale,
            tables=[*([differences.by_class(results)] if results.ours else []), tables.main_table(results)],
            pictures=[
                Picture("forest", _forest_caption(results), figures.forest(results)),
                Picture("cost", COST_CAPTION, figures.against_cost(results)),
            ],
        ),
        Part("What needs no model", CONTROLS, tables=[differences.against_controls(results)]),
        *([Part("Ours", OURS, tables=[differences.ours(results)])] if results.ours else []),
        Part("What the best ones miss", LOST, tables=[differences.where_lost(results)]),
        Part("By way of decoding, first mentions and all", "", tables=[tables.by_way(results)]),
        Part("Where and how it is read", READINGS, tables=[tables.readings(results)]),
        Part("How far it transfers", "", tables=[tables.transfers(results)]),
    ]
    setup = lab.setup()
    return Page("Detectors on one table", PAPER, findings(results), parts, setup, data=tables.data(results))


CONTROLS = (
    "Position: later words. Repetition: words whose object the whole text names once. Class prior: how often this "
    "class is hallucinated in other pictures. Wording: position, the word and the words around it, without any figure "
    "of the model. A detector that is no better than these has shown nothing about the model's inside."
)
READINGS = (
    "P: the state that predicts the word, there when the word is drawn; A: the state at the word, one step later. "
    "Modes in brackets: where paper and released code, or two papers, differ."
)
OURS = (
    "`risk` is the one that ships, fitted on pictures of its own, with a backward pass; `causal-risk` is fitted here, "
    "as the published ones are: from one plain pass, with hidden states (hidden), and with the answer to one question "
    "about each object (asked). `causal-risk as it ships` is the file in the package, which guards read too, fitted on "
    "pictures of its own."
)
LOST = (
    "A word that the model affirms is one that it takes itself to see: it mistakes one thing for another, and its "
    "states say so. What reads the model's inside can hardly know better than the model."
)
COST_CAPTION = "Position-matched AUROC against cost, first mentions; texts one by one on this machine."


def _forest_caption(results: Results) -> str:
    words, _, pictures = results.counts[POOLED, FIRST]
    return (
        f"AUROC of every detector and control on {words} first mentions of {pictures} pictures: over all pairs "
        "(filled), and among words of equal position (open). 95 % intervals over pictures."
    )


def _missing(results: Results) -> str:
    return f"Left out here: {'; '.join(results.missing)}." if results.missing else ""


def findings(results: Results) -> list[Finding]:
    """The conclusions, each decided by intervals."""
    return [
        found
        for found in (
            _best(results),
            _position(results),
            _wording(results),
            _places(results),
            *_ours(results),
            *(_calibrated(label, found) for label, found in results.shipped.items()),
            _transfer(results),
        )
        if found is not None
    ]


def _reach(results: Results, label: str) -> str:
    one = results.reached[label][POOLED, FIRST]
    return f"{one.auroc.estimate()} ({one.in_position.estimate()} within position)"


def _best(results: Results) -> Finding | None:
    """The best of each cost class."""
    told = []
    for name in CLASSES:
        some = [row.label for row in results.main() if row.cost == name]
        order = [label for label in ranked_in_position(results) if label in some]
        if order:
            told.append(f"{name}: {order[0]}, AUROC {_reach(results, order[0])}")
    control = max(results.controls, key=lambda one: number_of(results.reached[one][POOLED, FIRST].auroc.value))
    order = ranked_in_position(results)
    if not order:
        return None
    best = results.over[order[0]][control]
    verdict = HOLDS if best.low > 0 else FAILS if best.high < 0 else CANNOT_TELL
    text = (
        f"The best detector knows more than the best control. Best by position-matched AUROC, within each class of "
        f"cost: {'; '.join(told)}. The best control is {control}, with {_reach(results, control)}; {order[0]} lies "
        f"{signed(best)} above it."
    )
    return Finding(verdict, text)


def ranked_in_position(results: Results) -> list[str]:
    """Labels of the default rows by position-matched AUROC, the best first."""
    labels = [row.label for row in results.main()]
    return sorted(labels, key=lambda one: -number_of(results.reached[one][POOLED, FIRST].in_position.value))


def _position(results: Results) -> Finding:
    """How many are more than position."""
    labels = [row.label for row in results.main()]
    known = [label for label in labels if not math.isnan(results.over[label]["in position"].low)]
    above = [label for label in known if results.over[label]["in position"].low > 0]
    below = [label for label in known if results.over[label]["in position"].high < 0]
    neither = [label for label in known if label not in above and label not in below]
    falls = [_fall(results, label) for label in known]
    verdict = HOLDS if known and not neither and not below else FAILS if below or neither else CANNOT_TELL
    middle = sorted(falls)[len(falls) // 2] if falls else float("nan")
    text = (
        f"Every detector tells hallucinated from correct words at the same position: {len(above)} of {len(known)} do "
        f"({labels_of(above)}); not told from chance: {labels_of(neither)}; the wrong way round: {labels_of(below)}. "
        f"Position alone has AUROC {results.reached['position'][POOLED, FIRST].auroc.estimate()}; matching by it "
        f"changes a detector's AUROC by {-middle:+.3f} in the median."
    )
    return Finding(verdict, text)


def _fall(results: Results, label: str) -> float:
    one = results.reached[label][POOLED, FIRST]
    return one.auroc.value - one.in_position.value


def _wording(results: Results) -> Finding:
    labels = [row.label for row in results.main()]
    known = [label for label in labels if not math.isnan(results.over[label]["wording"].low)]
    above = [label for label in known if results.over[label]["wording"].low > 0]
    below = [label for label in known if results.over[label]["wording"].high < 0]
    verdict = HOLDS if known and len(above) == len(known) else FAILS if below else CANNOT_TELL
    text = (
        f"Every detector beats what a reader of the text alone could know: {len(above)} of {len(known)} lie above the "
        f"wording control ({_reach(results, 'wording')}), all comparisons allowed for: {labels_of(above)}; below it: "
        f"{labels_of(below)}."
    )
    return Finding(verdict, text)


def _places(results: Results) -> Finding | None:
    known = {name: one for name, one in results.places.items() if not math.isnan(one.low)}
    if not known:
        return None
    better = [name for name, one in known.items() if one.low > 0]
    worse = [name for name, one in known.items() if one.high < 0]
    largest = max(known, key=lambda name: abs(known[name].value))
    text = (
        f"The state at the word (A) says more than the state that predicts it (P): better at A: "
        f"{labels_of(better, 20)}; better at P: {labels_of(worse, 20)}; the largest difference is "
        f"{largest}'s, {signed(known[largest])} within "
        f"position (of {len(known)} detectors that can be read at both; intervals for all at once)."
    )
    verdict = HOLDS if better and not worse else FAILS if worse and not better else CANNOT_TELL
    return Finding(verdict, text)


def _ours(results: Results) -> list[Finding]:
    """Each row of ours beside every published one of no higher cost class."""
    rows = {row.label: row for row in results.main()}
    found = []
    for label in [row.label for row in sorted(rows.values(), key=lambda row: CLASSES.index(row.cost)) if row.ours]:
        some = {other: one for (own, other), one in results.ours.items() if own == label}
        known = {other: one for other, one in some.items() if not math.isnan(one.low)}
        if not known:
            continue
        hardest = min(known, key=lambda other: known[other].value)
        above = [other for other, one in known.items() if one.low > 0]
        beaten = [other for other, one in known.items() if one.high < 0]
        verdict = HOLDS if all(one.low > -LOSS for one in known.values()) else CANNOT_TELL
        verdict = FAILS if any(one.high < -LOSS for one in known.values()) else verdict
        text = (
            f"{label} ({rows[label].cost}) is at least as good, within {LOSS:.2f}, as every published detector of no "
            f"higher cost: AUROC {_reach(results, label)}; above {len(above)} of {len(known)} within position; the "
            f"hardest rival is {hardest}, over which it lies {signed(known[hardest])} within position and "
            f"{signed(results.ours_overall[label, hardest])} over all pairs (intervals for all pairs at once); clearly "
            f"better than it: {labels_of(beaten)}."
        )
        found.append(Finding(verdict, text))
    return found


def _calibrated(label: str, found: Mapping[str, Calibration]) -> Finding:
    """A shipped risk as it stands, on every way of decoding."""
    told = [
        f"{way_name(way)} texts {one.ece} (a perfect risk would show {one.by_chance[0]:.3f} by chance, up to "
        f"{one.by_chance[1]:.3f}), mean risk {one.risk:.3f} where {one.rate:.3f} are hallucinated"
        for way, one in found.items()
    ]
    known = list(found.values())
    verdict = HOLDS if all(one.ece.value < ERROR and one.within_chance for one in known) else CANNOT_TELL
    verdict = FAILS if any(one.ece.low > ERROR and not one.within_chance for one in known) else verdict
    text = f"{AS_IT_STANDS[label]} can be taken at its word, to within {ERROR:.2f}: {'; '.join(told)}."
    return Finding(verdict, text)


def _transfer(results: Results) -> Finding | None:
    """The mean loss of trained rows when the texts are of another way of decoding."""
    rows = {row.label: row for row in results.main() if row.fits and row.detector.fit == "trained"}
    cells = {(one.label, one.trained, one.tested): one for one in results.transfers if one.label in rows}
    falls = {}
    for (label, trained, tested), one in cells.items():
        home = cells.get((label, tested, tested))
        if trained != tested and home is not None:
            falls[label, trained, tested] = one.auroc.value - home.auroc.value
    if not falls:
        return None
    worst = min(falls, key=lambda key: falls[key])
    middle = sorted(falls.values())[len(falls) // 2]
    label, trained, tested = worst
    one, home = cells[worst], cells[label, tested, tested]
    verdict = HOLDS if falls[worst] > -LOSS else CANNOT_TELL
    verdict = FAILS if one.auroc.high < home.auroc.low else verdict
    text = (
        f"Trained detectors serve texts of another way of decoding: the change of AUROC against being trained at home "
        f"is {middle:+.3f} in the median; the worst is {label}, trained on {way_name(trained)} and tested on "
        f"{way_name(tested)} texts: {one.auroc} against {home.auroc}."
    )
    return Finding(verdict, text)
