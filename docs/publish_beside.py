"""Studies on one model beside the same studies on another: each one's page, and the findings side by side.

    python docs/publish_beside.py --source runs/studies-decoder --page docs/decoder.md --models "one" "the other"

A study lists its findings in one order on every model, and what one of them says besides stands at the end: so they are
paired by their place. `make studies-decoder` and `make facts` call it.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from marks import between_marks
from publish_studies import finished, made, publish

from lvlm_saliency.pages.markdown import escaped
from lvlm_saliency.studies.page import CANNOT_TELL, MARKS

Studies = dict[str, dict[str, Any]]


def main() -> None:
    """Publish each study's page beside `--page`, and write the findings, and the card, between its marks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="--out of the studies on the first model")
    parser.add_argument("--beside", type=Path, default=Path("docs/studies"), help="the published ones of the other")
    parser.add_argument("--page", type=Path, required=True, help="FOLDER/NAME.md; the studies' pages: FOLDER/NAME")
    parser.add_argument("--models", nargs=2, required=True, metavar="NAME", help="what the page calls the two models")
    parser.add_argument("--card", type=Path, help="README.md of the first model, for the marks of the card")
    options = parser.parse_args()
    here, there = finished(options.source), finished(options.beside)
    if not here:
        sys.exit(f"error: no finished study in {options.source}")
    pages = options.page.with_suffix("")
    for name, study in here.items():
        publish(options.source / name, pages / name, study)
    if options.card is not None:
        between_marks(options.page, "card", card(options.card))
    found = [*counts(here, there), "", *side_by_side(here, there, options.models, pages.name)]
    between_marks(options.page, "findings", found)


def card(path: Path) -> list[str]:
    """How the model was trained and what it reaches, as its own card says it."""
    text = path.read_text(encoding="utf-8")
    return text.split("\n## Training\n")[1].strip().replace("\n## ", "\n### ").splitlines()


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


def side_by_side(here: Studies, there: Studies, models: Sequence[str], pages: str) -> list[str]:
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


if __name__ == "__main__":
    main()
