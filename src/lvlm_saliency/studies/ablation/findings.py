"""What the ablation may conclude: which way of decoding hallucinates less than which, by intervals of CHAIR_i."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.evaluation.systems import SAMPLED
from lvlm_saliency.interventions.locore import SPACES
from lvlm_saliency.pages.figures import interval, number
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Finding

if TYPE_CHECKING:
    from lvlm_saliency.studies.ablation.study import Measured

AIM = FIGURES["CHAIR_i"]


def compared(one: str, other: str, found: Mapping[str, Any], where: str) -> Finding:
    """The claim that `one` has a lower CHAIR_i than `other`: HOLDS where the whole interval is below 0, FAILS where it
    is above."""
    low, high = found["interval"]
    verdict = HOLDS if high < 0 else FAILS if low > 0 else CANNOT_TELL
    claim = {
        HOLDS: f"{one} hallucinates less than {other}",
        FAILS: f"{one} hallucinates more, not less, than {other}",
        CANNOT_TELL: f"No difference between {one} and {other} is shown",
    }[verdict]
    text = f"{claim}: CHAIR_i {_points(found['difference'])} points [{_points(low)}, {_points(high)}] ({where})."
    if verdict == CANNOT_TELL:
        text += f" So many pictures can show one of about {number(AIM, (high - low) / 2)} points, not a smaller one."
    return Finding(verdict, text)


def gate_findings(measured: Measured, where: str) -> list[Finding]:
    """The verdicts on SGRS for one candidate set, from paired intervals over pictures."""
    aim = AIM.name
    found = [
        compared("SGRS", "plain sampling", measured.against("SGRS", SAMPLED)[aim], where),
        compared("SGRS", "greedy decoding", measured.against("SGRS")[aim], where),
    ]
    if "by chance" in measured.names:
        counts = [f"{measured.rejected(name):.3f}" for name in ("SGRS", "by chance")]
        counts += [f"{measured.fallbacks(name):.3f}" for name in ("SGRS", "by chance")]
        rates = "{}; per token {} refusals against {} by chance, {} fallbacks against {}".format(where, *counts)
        chance = "a gate that refuses by chance at the same rate"
        found.append(compared("SGRS", chance, measured.against("SGRS", "by chance")[aim], rates))
        reversed_sign = "the same gate with its sign reversed"
        found.append(compared("SGRS", reversed_sign, measured.against("SGRS", "reversed sign")[aim], where))
    return found


def booster_findings(measured: Measured, where: str) -> list[Finding]:
    """The verdicts on LocoRE, which draws nothing, so that no candidate set is part of them."""
    from lvlm_saliency.studies.ablation.study import variant

    aim = AIM.name
    found = [compared("LocoRE", "greedy captions of the same length", measured.matched("LocoRE")[aim], where)]
    if "window" in measured.names:
        pair = ("LocoRE with a short window", "LocoRE with as many random positions")
        found.append(compared(*pair, measured.against("window", "random window")[aim], where))
    if variant(SPACES[0], 1.0) in measured.names:
        found.append(collapse({space: measured.against(variant(space, 1.0))[aim] for space in SPACES}, where))
    return found


def collapse(found: Mapping[str, Mapping[str, Any]], where: str) -> Finding:
    """Which interpretations of Eq. 9 hallucinate more than greedy decoding at beta 1; the paper reports +7 points."""
    worse = [space for space, one in found.items() if one["interval"][0] > 0]
    told = "; ".join(
        f"{space} {number(AIM, one['difference'], sign=True)} {interval(AIM, one['interval'], sign=True)}"
        for space, one in found.items()
    )
    absent = all(one["interval"][1] <= 0 for one in found.values())
    said = HOLDS if worse else FAILS if absent else CANNOT_TELL
    lead = f"is seen with space={' and '.join(worse)}" if worse else "is not seen with any space"
    return Finding(
        said,
        f"The collapse at beta 1.0 {lead} (three interpretations of Eq. 9): CHAIR_i against greedy decoding {told} "
        f"({where}).",
    )


def _points(share: float) -> str:
    """Two decimals, so that a bound near 0 shows on which side of 0 it lies."""
    return f"{100 * share:+.2f}".replace("-", "−")
