"""The page of `behaviour`: verdicts, what is refused, what that does to the text, and confident hallucinations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies.behaviour.confident import Confident
from lvlm_saliency.studies.behaviour.diversity import MEASURES
from lvlm_saliency.studies.behaviour.figures import refusals
from lvlm_saliency.studies.behaviour.first_draws import CORRECT, HALLUCINATED, OTHER, Draws
from lvlm_saliency.studies.behaviour.phrases import half, points, share, signed, verdict_of
from lvlm_saliency.studies.behaviour.tables import counts_table, kinds_table, paired, texts_table
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Finding, Page, Part, Picture

if TYPE_CHECKING:
    from lvlm_saliency.studies.behaviour.study import Behaviour, Found

PAPER = (
    "SGRS refuses words whose saliency drops, which are said to be the hallucinated ones; the paper does not show how "
    "often it refuses, what, or what it does to the wording. Its reviewers asked for that."
)
RARE = 0.01
"""Fallbacks in a smaller share of the steps count as exceptions."""
MATTERS = 0.01
"""A smaller increase of repeated 4-grams is not reported as a change."""


def page(study: Behaviour, found: Found, resamples: int, seed: int, setup: Mapping[str, str]) -> Page:
    """The whole result."""
    confident = Confident(found, study.confident, resamples, seed)
    findings = [
        one
        for name, draws in found.draws.items()
        for one in (*of_draws(name, draws, resamples, seed), of_text(name, found, resamples, seed))
    ]
    text = (
        "A first draw is what the gate would have written had it not refused. It is judged, refused or not, by the "
        "object word that it completes and the picture's ground truth. " + found.speech
    )
    caption = (
        "Share of steps whose first draw SGRS refuses (filled), and of those that end in the fallback (hollow), by "
        "place in the text and by the first draw's part of speech, with 95 % intervals over pictures; "
        + "; ".join(f"{name}: n = {len(draws):,} draws" for name, draws in found.draws.items())
        + "."
    )
    refused = Part(
        "What is refused",
        text,
        [kinds_table(found, resamples, seed), counts_table(found, resamples, seed)],
        [Picture("refusals", caption, refusals(found, resamples, seed))],
    )
    return Page(
        title="What SGRS refuses, and what it does to the text",
        paper=PAPER,
        findings=[*findings, confident.finding()],
        parts=[refused, Part("The text", "", [texts_table(found, resamples, seed)]), confident.part()],
        setup=setup,
        data={"first_draws": _rows(found), "texts": _text_rows(found), "confident": confident.rows()},
    )


def of_draws(name: str, draws: Draws, resamples: int, seed: int) -> list[Finding]:
    """What the gate does to object words, what it mostly refuses, and whether it has draws enough."""
    resampler = draws.resampler(resamples, seed)
    first = {kind: (draws.kind == kind) & ~draws.again for kind in (HALLUCINATED, CORRECT)}
    rates = {kind: stats.mean(draws.refused, rows) for kind, rows in first.items()}
    gap = resampler.difference(rates[HALLUCINATED], rates[CORRECT])
    wrong, right = (resampler.estimate(rates[kind]) for kind in (HALLUCINATED, CORRECT))
    counts = {kind: int(rows.sum()) for kind, rows in first.items()}
    verdict = verdict_of(gap, HOLDS, FAILS, 0.0)
    told = {HOLDS: "more often than", FAILS: "less often than", CANNOT_TELL: "not clearly more or less often than"}
    power = "" if verdict != CANNOT_TELL else f"; so many words can show ± {points(half(gap))}"
    found = [
        Finding(
            verdict,
            f"SGRS refuses hallucinated objects more often than correct ones ({name}): of the first mentions that it "
            f"draws it refuses {share(wrong)} of the hallucinated (n = {counts[HALLUCINATED]:,}), "
            f"{told[verdict]} the {share(right)} of the correct (n = {counts[CORRECT]:,}), {signed(gap)} "
            f"points{power}{_at_equal_position(draws, first, resamples, seed)}.",
        )
    ]
    hits = resampler.estimate(stats.mean(draws.kind == HALLUCINATED, draws.refused))
    base = resampler.estimate(stats.mean(draws.kind == HALLUCINATED))
    others = [resampler.estimate(stats.mean(draws.kind == kind, draws.refused)) for kind in (CORRECT, OTHER)]
    found.append(
        Finding(
            verdict_of(hits, HOLDS, FAILS, 0.5),
            f"Most of what SGRS refuses are hallucinated words ({name}): {share(hits)} of its "
            f"{int(draws.refused.sum()):,} refused first draws are, as are {share(base)} of all first draws; "
            f"{share(others[0])} are correct object words and {share(others[1])} name no object at all.",
        )
    )
    fallback = resampler.estimate(stats.mean(draws.fallback))
    found.append(
        Finding(
            verdict_of(fallback, FAILS, HOLDS, RARE),
            f"The fallback is an exception, below one step in a hundred ({name}): in {share(fallback)} of "
            f"{len(draws):,} steps every draw was refused and the candidate of the largest saliency was written.",
        )
    )
    return found


def _at_equal_position(draws: Draws, first: Mapping[str, np.ndarray], resamples: int, seed: int) -> str:
    """The same among words at one position of the text, as an area under the ROC curve: 0.5 where refusals do not
    tell the two kinds apart."""
    rows = first[HALLUCINATED] | first[CORRECT]
    area = stats.Resampler(draws.group[rows], resamples, seed).estimate(
        stats.auroc(draws.refused[rows].astype(float), draws.kind[rows] == HALLUCINATED, draws.position[rows])
    )
    return "" if math.isnan(area.low) else f"; at equal position AUROC {area}, chance 0.5"


def of_text(name: str, found: Found, resamples: int, seed: int) -> Finding:
    """Whether refusing makes the text repeat itself, against sampling."""
    change = paired(found, f"SGRS, {name}", "sample", "repeated 4-grams", resamples, seed)
    verdict = FAILS if change.low > 0 else HOLDS if change.high < MATTERS else CANNOT_TELL
    mine, theirs = (np.nanmean(found.texts[one]["repeated 4-grams"]) for one in (f"SGRS, {name}", "sample"))
    return Finding(
        verdict,
        f"SGRS makes the text no more repetitive than sampling ({name}): {100 * mine:.1f} % of 4-grams stood in the "
        f"text before, against {100 * theirs:.1f} %, {signed(change)} points (n = {change.n} pictures).",
    )


def _rows(found: Found) -> list[dict[str, Any]]:
    fields = [one.name for one in dataclasses.fields(Draws)]
    rows = []
    for name, draws in found.draws.items():
        for values in zip(*(getattr(draws, field).tolist() for field in fields), strict=True):
            rows.append({"candidates": name, **dict(zip(fields, values, strict=True))})
    return rows


def _text_rows(found: Found) -> list[dict[str, Any]]:
    return [
        {"decoding": name, "picture": number, **{measure: float(values[measure][number]) for measure in MEASURES}}
        for name, values in found.texts.items()
        for number in range(len(values["words"]))
    ]
