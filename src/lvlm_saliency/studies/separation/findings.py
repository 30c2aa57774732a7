"""The verdicts of `separation`: six claims, each judged by an interval, and how they fare together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.nested import Nested
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Finding
from lvlm_saliency.studies.separation.bins import LEAST, Binned
from lvlm_saliency.studies.separation.measures import Measured
from lvlm_saliency.studies.separation.words import SCORED
from lvlm_saliency.studies.verdicts import absent, directional, low_adds

CLAIMS = 6
MONOTONE = -0.8
"""The smallest absolute rank correlation of bin and rate that counts as monotone."""


def findings(first: Measured, bins: Mapping[str, Binned], models: Sequence[Nested], width: int) -> list[Finding]:
    """The page's conclusions."""
    found = [
        _lower(first, "saliency: output", "", "earlier output"),
        _lower(first, "saliency: output", "same position", "earlier output"),
        _lower(first, "saliency: previous", "", "the previous token, the paper's own score"),
        falling(next(iter(bins.values())), width),
        _attention(first),
        _adds(models),
    ]
    changed = _changed(first, found)
    if changed:
        found.append(
            Finding(
                CANNOT_TELL,
                f"Of the {CLAIMS} verdicts, tested on the same words, {changed} would become “cannot tell” under "
                "intervals widened for several tests (Bonferroni).",
            )
        )
    return found


def _lower(first: Measured, score: str, held: str, over: str) -> Finding:
    found = first.area(score, held).estimate()
    where = " at equal position" if held else ""
    verdict = directional(found)
    if verdict == HOLDS:
        text = f"Hallucinated words have lower saliency over {over}{where}: {_area(found)}."
        if found.high < 0.55:
            text = text[:-1] + ", a small difference."
    elif found.high < 0.5:
        text = f"Hallucinated words have higher, not lower, saliency over {over}{where}: {_area(found)}."
    elif verdict == FAILS:
        text = (
            f"Hallucinated words have no saliency over {over}{where} that is lower by enough to matter: {_area(found)}."
        )
    else:
        text = f"Whether hallucinated words have lower saliency over {over}{where} stays open: {_area(found)}."
    if held:
        text = text[:-1] + f" ({first.compared(held)} hallucinated words have a correct one to be compared with)."
    return Finding(verdict, text)


def falling(binned: Binned, width: int) -> Finding:
    """Whether the rate falls from bin to bin of the previous token's saliency; of `width` bins those with enough words
    are ranked."""
    trend = binned.spearman
    if trend.value != trend.value or trend.low != trend.low:
        return Finding(
            CANNOT_TELL,
            f"The hallucination rate over {width} bins of the previous token's saliency cannot be ranked: fewer than "
            f"three bins hold {LEAST} words.",
        )
    ranked = [one.rate.value for one in binned.bins if one.n >= LEAST]  # a bin of a few words says nothing
    ends = f"{ranked[0]:.0%} in the lowest of them, {ranked[-1]:.0%} in the highest"
    rho = (
        f"rank correlation {trend.value:+.2f} [{trend.low:.2f}, {trend.high:.2f}] over {trend.n} bins of at least "
        f"{LEAST} words; {ends}"
    )
    if trend.value <= MONOTONE and trend.high < 0:
        return Finding(HOLDS, f"The hallucination rate falls from bin to bin of the previous token's saliency ({rho}).")
    if trend.low > MONOTONE:
        does = "rises" if trend.low > 0 else "does not fall steadily"
        return Finding(FAILS, f"The hallucination rate {does} over bins of the previous token's saliency ({rho}).")
    return Finding(
        CANNOT_TELL, f"Whether the rate falls from bin to bin of the previous token's saliency stays open ({rho})."
    )


def _attention(first: Measured) -> Finding:
    names = [f"attention: {region}" for region in SCORED]
    level = 1 - 0.05 / len(names)
    found = {name: first.area(name).estimate(level) for name in names}
    verdict = absent(list(found.values()))
    name = max(found, key=lambda key: abs(found[key].value - 0.5))
    best, region = found[name], name.removeprefix("attention: ")
    equal = first.area(name, "same position").estimate()
    kind = "lower" if best.value > 0.5 else "higher"
    told = (
        f"hallucinated words have {kind} attention over {_over(region)}, {_area(best)}; "
        f"at equal position {_area(equal)}"
    )
    if verdict == HOLDS:
        return Finding(
            verdict, "Plain attention does not separate them: over no region does the area leave 0.5 ± 0.05."
        )
    if verdict == FAILS:
        saliency = first.area(f"saliency: {region}").estimate()
        return Finding(
            verdict,
            f"Plain attention does separate them, against what the paper says: {told}. "
            f"Saliency over the same region: {_area(saliency)}.",
        )
    return Finding(verdict, f"Whether plain attention separates them stays open; at most, {told}.")


def _adds(models: Sequence[Nested]) -> Finding:
    asked = [one for one in models if one.base != "log-probability"]
    if not asked:
        return Finding(
            CANNOT_TELL, "Too few pictures with a hallucinated word to test what saliency adds to probability."
        )
    paper, regions = (
        next(o for o in asked if o.added == name) for name in ("saliency: output", "saliency: all 4 regions")
    )
    gain = f"{paper.gain.value:+.4f} [{paper.gain.low:.4f}, {paper.gain.high:.4f}] nats per word of {paper.loss:.3f}"
    more = (
        f" Saliency over all four regions, the image among them, gains {regions.gain.value:+.4f} "
        f"[{regions.gain.low:.4f}, {regions.gain.high:.4f}] and moves the area from {regions.base_auroc.value:.3f} to "
        f"{regions.auroc.value:.3f}."
    )
    verdict, text = low_adds(
        paper,
        low="Low saliency over the output adds to log-probability and confounders on unseen pictures",
        high=(
            "Beyond what log-probability says, high and not low saliency over the output goes with hallucination at "
            "equal probability and position, and it helps on unseen pictures"
        ),
        nothing="Saliency over the output adds nothing that matters to log-probability and confounders",
        unclear="Whether saliency over the output adds to log-probability and confounders stays open",
    )
    return Finding(verdict, f"{text} (gain {gain}).{more}")


def _changed(first: Measured, found: Sequence[Finding]) -> int:
    """How many of the area verdicts do not survive Bonferroni's level."""
    level = 1 - 0.05 / CLAIMS
    asked = [("saliency: output", ""), ("saliency: output", "same position"), ("saliency: previous", "")]
    return sum(
        one.verdict != CANNOT_TELL and directional(first.area(*key).estimate(level)) != one.verdict
        for one, key in zip(found, asked, strict=False)
    )


def _area(found: Estimate) -> str:
    return f"AUROC {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _over(region: str) -> str:
    return {"output": "earlier output", "previous": "the previous token", "image": "the image", "prompt": "the prompt"}[
        region
    ]
