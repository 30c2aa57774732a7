"""The paper's claims against measurements: a verdict per claim, by intervals alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.pages.figures import interval, number, unjudged, verdict
from lvlm_saliency.reproduce.paper import Reported, Setting
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Finding

CLAIMED = {"CHAIR_s": "lower", "CHAIR_i": "lower", "f1": "higher", "fraction": "higher", "image_accuracy": "higher"}


@dataclass(frozen=True)
class Measured:
    """A figure of a system minus greedy decoding's, plainly and with greedy captions cut to its length; fractions."""

    plain: Mapping[str, Any] | None
    matched: Mapping[str, Any] | None


def judged(row: Setting, figure: str, found: Measured, reported: Reported | None) -> Finding:
    """Whether a method does to a figure what the paper says.

    HOLDS where the interval of the difference lies on the claimed side; FAILS where it lies on the other side, or
    includes no difference and leaves the paper's out; CANNOT_TELL otherwise.
    """
    shown = FIGURES[figure]
    better = CLAIMED[figure]
    claim = f"{row.name} makes {shown.shown} {better} than greedy decoding"
    with_it, without = (None, None) if reported is None else (row.value(figure), reported.base.value(figure))
    paper = None if with_it is None or without is None else with_it - without
    told = "" if paper is None else f" (the paper: {paper:+.1f} points)"
    if found.plain is None:
        return Finding(CANNOT_TELL, f"{claim}{told}: not measured.")
    reading = verdict(shown, found.plain)
    if reading:
        said = HOLDS if reading == "better" else FAILS
    elif reason := unjudged(found.plain):
        return Finding(CANNOT_TELL, f"{claim}{told}: {reason}.")
    else:
        low, high = (shown.scale * bound for bound in found.plain["interval"])
        said = FAILS if paper is not None and not low <= paper <= high else CANNOT_TELL
    size = f"{number(shown, found.plain['difference'], True)} {interval(shown, found.plain['interval'], True)}"
    length = ""
    if found.matched is not None and not unjudged(found.matched):
        bounds = interval(shown, found.matched["interval"], True)
        length = (
            f"; against greedy captions of equal length {number(shown, found.matched['difference'], True)} {bounds}"
        )
    return Finding(said, f"{claim}{told}: here {size} points{length}.")
