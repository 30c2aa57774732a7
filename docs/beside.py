"""The findings of studies on two models beside each other, for a page. A study lists its findings in one order on every
model, and what one of them says besides stands at the end: so they are paired by their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from publish_studies import made

from lvlm_saliency.pages.markdown import escaped
from lvlm_saliency.studies.page import CANNOT_TELL, MARKS

Studies = dict[str, dict[str, Any]]


def counts(here: Studies, there: Studies) -> list[str]:
    """A table of how many verdicts are the same, study by study."""
    lines = [
        "| study | findings | same verdict | the opposite | open in one of them | open in both |",
        "|---|---|---|---|---|---|",
    ]
    total: Counter[str] = Counter()
    for name, study in here.items():
        own = Counter(_agreement(*pair) for pair in _pairs(study, there.get(name)))
        total += own
        lines.append(f"| {escaped(study['title'])} | {_row(own)} |")
    return [*lines, f"| **together** | {_row(total)} |"] if len(here) > 1 else lines


def side_by_side(here: Studies, there: Studies, models: tuple[str, str], pages: str) -> list[str]:
    """Every finding on both `models`, study by study, with how the first was made; `pages`: folder of its pages."""
    lines = []
    for name, study in here.items():
        lines += [
            f"### [{escaped(study['title'])}]({pages}/{name}/page.md)",
            "",
            f"| {models[0]} | {models[1]} |",
            "|---|---|",
        ]
        lines += [f"| {_said(one)} | {_said(other)} |" for one, other in _pairs(study, there.get(name))]
        lines += ["", f"`{study['command']}`; {made(study)}", ""]
    return lines[:-1]


def _pairs(
    study: dict[str, Any], other: dict[str, Any] | None
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    there = other["findings"] if other else []
    here = study["findings"]
    return zip(here, [*there, *[None] * len(here)], strict=False)


def _agreement(here: dict[str, Any], there: dict[str, Any] | None) -> str:
    if there is None:
        return "alone"
    verdicts = [here["verdict"], there["verdict"]]
    if opened := verdicts.count(CANNOT_TELL):
        return f"open in {opened}"
    return "same" if verdicts[0] == verdicts[1] else "opposite"


def _row(counts: Counter[str]) -> str:
    columns = ("same", "opposite", "open in 1", "open in 2")
    return " | ".join(str(number) for number in (sum(counts.values()), *(counts[one] for one in columns)))


def _said(finding: dict[str, Any] | None) -> str:
    return (
        "-" if finding is None else f"{MARKS[finding['verdict']]} **{finding['verdict']}**: {escaped(finding['text'])}"
    )
