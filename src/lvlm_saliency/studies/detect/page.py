"""The page of `detect`: verdicts, tables and figures, from the measured results alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.detect import figures
from lvlm_saliency.studies.detect import tables as detect_tables
from lvlm_saliency.studies.detect.mentions import COSTS, Mentions
from lvlm_saliency.studies.detect.names import AS_SAVED
from lvlm_saliency.studies.detect.tables import NAMES, signed
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Finding, Page, Part, Picture

if TYPE_CHECKING:
    from lvlm_saliency.studies.detect.study import Results
    from lvlm_saliency.studies.lab import Lab

GOAL, GAIN = 0.90, 0.04
"""What the risk shall reach: AUROC, and position-matched AUROC above that of -log p."""
LOSS = 0.02
"""What does not matter: AUROC that a transfer costs or a signal adds, and risk that is off on average."""

PAPER = (
    "saliency over earlier output tokens is the sign of hallucination; it fits no detector, ignores "
    "saliency on the image, and does not set its score beside the token's own probability."
)


def at_least(found: Estimate, goal: float) -> str:
    """HOLDS when the whole interval reaches the goal, FAILS when it ends below it, CANNOT_TELL otherwise."""
    return HOLDS if found.low >= goal else FAILS if found.high < goal else CANNOT_TELL


def page(lab: Lab, results: Results, train: Mentions, held: dict[str, Mentions]) -> Page:
    """The whole page."""
    tested = held[GREEDY]
    scale = (
        f"Held out: {len(tested)} first mentions ({int(tested.y.sum())} hallucinated) in the greedy texts of "
        f"{tested.pictures} pictures; learned from {len(train)} ({int(train.y.sum())} hallucinated) in "
        f"{train.pictures} other pictures. {results.how}. The classifier ({results.fitted.candidate}), its strength "
        "and its calibration were chosen by cross-validation over training pictures alone. Intervals: 95 %, redrawing "
        "pictures; differences are paired."
    )
    parts = [
        Part("How good the risk is", scale, tables=[detect_tables.areas(results)]),
        Part(
            "What each signal is worth",
            "Every group of features alone; beside log-probability; and beside everything else that the trace gives. "
            "Held-out greedy and sampled texts together, logistic regression throughout, gains matched by position and "
            "way of decoding. Others can often stand in for a group that is taken away: a small last column says that "
            "it is not alone in what it knows, not that it knows nothing. A loss beside log-probability means that the "
            "fit spent the group on what position and way of decoding tell, which the matching takes out again. "
            + _costs(results),
            tables=[detect_tables.worths(results)],
            pictures=[Picture("worth", _worth_caption(results), figures.worth(results.worths))],
        ),
        Part(
            "Does it mean what it says?",
            "Expected calibration error over ten bins of equal width, beside what a perfectly calibrated "
            "risk would show by chance with as many (mean, and the bound that it passes once in twenty).",
            tables=[detect_tables.calibration(results)],
            pictures=[Picture("reliability", _reliability_caption(results), figures.reliability(results.calibrated))],
        ),
        Part(
            "How far it transfers",
            "Trained on texts of one way of decoding, tested on another; no picture is in both. A mean risk far from "
            "the share of hallucinated words means that the ranking may serve where the figure does not.",
            tables=[detect_tables.transfers(results)],
        ),
    ]
    return Page(
        "Detect: how likely is it that a word names what is not there?",
        PAPER,
        findings(results),
        parts,
        lab.setup(),
        data=detect_tables.data(results),
    )


def findings(results: Results) -> list[Finding]:
    """The conclusions, each decided by an interval."""
    risk, matched = results.areas["risk"]
    gain, control, rest = (results.gains[name] for name in ("over -log p", "over wording", "all over risk"))
    saliency = results.gains["saliency, both"]
    plain, plain_matched = results.areas["-log p"]
    wording = results.areas["wording alone (control)"]
    found = [
        Finding(
            at_least(risk, GOAL),
            f"A risk read from the trace alone, without a further pass over the model, finds hallucinated first "
            f"mentions with AUROC {risk} (goal: {GOAL:.2f}; n = {risk.n}); among words of equal position {matched}.",
        ),
        Finding(
            at_least(gain, GAIN),
            f"It lies {GAIN:.2f} or more above the word's own log-probability, position-matched: {signed(gain)} "
            f"(-log p has {plain_matched} matched, {plain} unmatched).",
        ),
        Finding(
            HOLDS if control.low > 0 else FAILS if control.high < LOSS else CANNOT_TELL,
            f"It is more than the way the texts are written: place and wording alone, without any figure of the model, "
            f"reach {wording[0]} ({wording[1]} position-matched); the risk lies {signed(control)} above, matched.",
        ),
        Finding(
            HOLDS if saliency.low > 0 else FAILS if saliency.high < LOSS else CANNOT_TELL,
            f"Saliency adds to it what attention, log-probability and entropy do not have: {signed(saliency)} "
            "(position-matched, greedy and sampled texts). " + _gradient(saliency),
        ),
        _richer(results, rest),
        _calibrated(results),
    ]
    return [*found, *transfer(results)]


def _gradient(saliency: Estimate) -> str:
    if saliency.low > 0:
        return "The backward pass buys something here" + (", though little." if saliency.value < LOSS else ".")
    return "Attention from a forward pass does nearly as well." if saliency.high < LOSS else "More pictures would tell."


def _richer(results: Results, rest: Estimate) -> Finding:
    verdict = HOLDS if rest.low > 0 else FAILS if rest.high < LOSS else CANNOT_TELL
    every, _ = results.areas["all signals"]
    best = max(
        (one for one in results.worths if COSTS[one.group] != COSTS["log-probability"]), key=_alone, default=None
    )
    asked = results.areas.get("self-check alone")
    text = (
        f"Further passes improve it: with every signal AUROC {every}, {signed(rest)} position-matched over the trace."
    )
    if best is not None:
        text += (
            f" The best of the costlier signals by itself is {best.group} ({COSTS[best.group]}): {best.alone} over "
            "greedy and sampled texts."
        )
    if asked is not None:
        text += f" Asking the model whether the object is there, and nothing else, gives {asked[0]} on greedy texts."
    return Finding(verdict, text)


def _costs(results: Results) -> str:
    """What the groups that a trace does not give cost."""
    paid = [(one.group, COSTS[one.group]) for one in results.worths if COSTS[one.group] != COSTS["log-probability"]]
    if not paid:
        return "All of them come with the trace."
    return "Beyond the trace these cost: " + "; ".join(f"{group}: {cost}" for group, cost in paid) + "."


def _alone(one: Any) -> float:
    return one.alone.value


def _calibrated(results: Results) -> Finding:
    found = {name: results.calibrated[AS_SAVED, name] for name in results.counts["train"]}
    errors = [one.ece for one in found.values()]
    verdict = HOLDS if all(one.high < LOSS for one in errors) else CANNOT_TELL
    verdict = FAILS if any(one.low > LOSS for one in errors) else verdict
    text = "; ".join(
        f"{NAMES.get(name, name)} texts: calibration error {one.ece} (a perfect risk would show {one.by_chance[0]:.3f} "
        f"by chance, up to {one.by_chance[1]:.3f}), mean risk {one.risk:.3f} where {one.rate:.3f} are hallucinated"
        for name, one in found.items()
    )
    return Finding(verdict, f"The risk can be taken at its word, to within {LOSS:.2f} on average. {text}.")


def transfer(results: Results) -> list[Finding]:
    """One finding for each way of decoding that was not in the training texts, against being trained at home."""
    cells = {(one.trained, one.tested): one for one in results.transfers}
    found = []
    for (trained, tested), here in cells.items():
        home = cells.get((tested, tested))
        if trained == tested or home is None or trained not in results.counts["train"]:
            continue
        verdict = HOLDS if here.free.low > home.free.value - LOSS else CANNOT_TELL
        verdict = FAILS if here.free.high < home.free.low - LOSS else verdict
        found.append(
            Finding(
                verdict,
                f"A risk trained on {NAMES.get(trained, trained)} texts serves {NAMES.get(tested, tested)} ones: AUROC "
                f"{here.free} against {home.free} trained at home (with every signal {here.every.value:.3f} against "
                f"{home.every.value:.3f}); it says {here.risk:.3f} on average where {here.rate:.3f} are hallucinated.",
            )
        )
    return found


def _worth_caption(results: Results) -> str:
    return (
        "Left: position-matched AUROC of each group alone. Right: what it adds to log-probability, and to all else "
        f"that the trace gives. 95 % intervals over pictures, n = {results.worths[0].alone.n} first mentions."
    )


def _reliability_caption(results: Results) -> str:
    counts = ", ".join(f"{NAMES.get(name, name)} n = {count}" for name, count in results.counts["held"].items())
    return (
        f"Mean risk ({AS_SAVED}) and share of hallucinated words in ten bins of equal width, held-out pictures, 95 % "
        "intervals over pictures; the number at a point is that of its mentions. On the dotted line risk is what it "
        "says. "
        f"{counts}."
    )
