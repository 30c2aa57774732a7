"""The verdicts of `factual`, each judged by an interval."""

from __future__ import annotations

from collections.abc import Sequence

from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.factual.measures import EQUAL, Measured
from lvlm_saliency.studies.nested import Nested
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Finding
from lvlm_saliency.studies.verdicts import MARGIN, directional, low_adds

OVER = {
    "saliency: output": "earlier output (the opening of the answer)",
    "saliency: previous": "the previous token, the paper's own score",
    "saliency: prompt": "the prompt",
}


def findings(measured: Measured, models: Sequence[Nested]) -> list[Finding]:
    """The page's conclusions. The first, with kind and position held equal, is the one that other pages quote."""
    first, *others = OVER
    return [
        _lower(measured, first, EQUAL),
        _lower(measured, first, ""),
        *(_lower(measured, name, EQUAL) for name in others),
        _beside_probability(measured),
        _beside_attention(measured),
        _adds(models),
    ]


def _lower(measured: Measured, name: str, held: str) -> Finding:
    found = measured.area(name, held).estimate()
    where = " among answers of the same kind and position" if held else " among answers of all kinds together"
    over, verdict = OVER[name], directional(found)
    if verdict == HOLDS:
        text = f"Wrong answers have lower saliency over {over}{where}: {_area(found)}"
        text += ", a small difference" if found.high < 0.5 + MARGIN else ""
    elif found.high < 0.5:
        text = f"Wrong answers have higher, not lower, saliency over {over}{where}: {_area(found)}"
    elif verdict == FAILS:
        text = f"Wrong answers have no saliency over {over}{where} that is lower by enough to matter: {_area(found)}"
    else:
        text = f"Whether wrong answers have lower saliency over {over}{where} stays open: {_area(found)}"
    if held:
        text += f" ({measured.compared(held)} wrong answers have a right one to be compared with)"
    return Finding(verdict, text + ".")


def _beside_probability(measured: Measured) -> Finding:
    """Whether saliency tells wrong answers as well as log-probability does."""
    likely, own = (measured.area(name, EQUAL) for name in ("log-probability", "saliency: output"))
    lead = (likely - own).estimate()
    told = (
        f"among answers of the same kind and position log-probability has an area of {_figures(likely.estimate())}, "
        f"{lead.value:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}] from that of output saliency"
    )
    if lead.low > 0:
        return Finding(FAILS, f"Saliency does not tell wrong answers as well as log-probability does: {told}.")
    if lead.high < MARGIN:
        return Finding(HOLDS, f"Saliency tells wrong answers as well as log-probability does: {told}.")
    return Finding(
        CANNOT_TELL, f"Whether saliency tells wrong answers as well as log-probability does stays open: {told}."
    )


def _beside_attention(measured: Measured) -> Finding:
    """Whether the gradient, by which saliency multiplies attention, is what tells them."""
    own, plain = (measured.area(f"{name}: output", EQUAL) for name in ("saliency", "attention"))
    lead = (own - plain).estimate()
    verdict = directional(lead, 0.0)
    told = (
        f"{_figures(own.estimate())} beside {_figures(plain.estimate())}, "
        f"{lead.value:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}]"
    )
    if verdict == HOLDS:
        text = "Saliency over earlier output tells wrong answers better than plain attention over it"
    elif lead.high < 0:
        text = "Plain attention over earlier output tells wrong answers better than saliency over it"
    elif verdict == FAILS:
        text = "Saliency over earlier output tells wrong answers no better than plain attention over it"
    else:
        text = "Whether saliency over earlier output tells wrong answers better than plain attention stays open"
    return Finding(verdict, f"{text} (same kind and position: {told}).")


def _adds(models: Sequence[Nested]) -> Finding:
    asked = [one for one in models if one.base != "log-probability"]
    if not asked:
        return Finding(CANNOT_TELL, "Too few subjects with wrong answers to test what saliency adds to probability.")
    paper = next(one for one in asked if one.added == "saliency: output")
    most = next(one for one in asked if one.added.startswith("saliency: all"))
    gain = f"{paper.gain.value:+.4f} [{paper.gain.low:.4f}, {paper.gain.high:.4f}] nats per answer of {paper.loss:.3f}"
    base = "log-probability, entropy, position and kind"
    verdict, text = low_adds(
        paper,
        low=f"Low saliency over the output adds to {base} on unseen subjects",
        high=(
            f"Beside {base}, high and not low saliency over the output goes with wrong answers, and it helps on unseen "
            "subjects"
        ),
        nothing=f"Saliency over the output adds nothing that matters to {base}",
        unclear=f"Whether saliency over the output adds to {base} stays open",
    )
    more = (
        f" Saliency over all regions gains {most.gain.value:+.4f} [{most.gain.low:.4f}, {most.gain.high:.4f}] and "
        f"moves the area from {most.base_auroc.value:.3f} to {most.auroc.value:.3f}."
    )
    return Finding(verdict, f"{text} (gain {gain}).{more}")


def _area(found: Estimate) -> str:
    return f"AUROC {_figures(found)}"


def _figures(found: Estimate) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
