"""The studies of the scenes model with a real decoder beside those of the small one: the tables of `docs/decoder.md`.

`make studies-decoder` runs them. Each finding stands beside the same one of the small model, by its place in the study.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marks import between_marks
from publish_studies import finished, made, publish

from lvlm_saliency.pages.markdown import escaped
from lvlm_saliency.studies.page import MARKS

Studies = dict[str, dict[str, Any]]


def main() -> None:
    """Publish each study's page, and write card and findings between the marks of the page that compares them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=Path("runs/studies-decoder"), help="--out of its studies")
    parser.add_argument(
        "--beside", type=Path, default=Path("docs/studies"), help="the published ones of the small model"
    )
    parser.add_argument("--model", type=Path, default=Path(".real/scenes-smollm2"), help="the model's folder: its card")
    parser.add_argument("--page", type=Path, default=Path("docs/decoder.md"))
    parser.add_argument("--pages", type=Path, default=Path("docs/decoder"), help="folder of the studies' own pages")
    options = parser.parse_args()
    large, small = finished(options.source), finished(options.beside)
    if not large:
        sys.exit(f"error: no finished study in {options.source}; run make studies-decoder")
    for name, study in large.items():
        publish(options.source / name, options.pages / name, study)
    between_marks(options.page, "card", card(options.model / "README.md"))
    between_marks(options.page, "findings", findings(large, small, options.pages.name))


def card(path: Path) -> list[str]:
    """How the model was trained and what it reaches, as its own card says it."""
    text = path.read_text(encoding="utf-8")
    return text.split("\n## Training\n")[1].strip().replace("\n## ", "\n### ").splitlines()


def findings(large: Studies, small: Studies, pages: str) -> list[str]:
    """How many verdicts are the same, study by study, then every finding of both models."""
    lines = ["| study | findings | same verdict | the opposite | open in one of them |", "|---|---|---|---|---|"]
    total: Counter[str] = Counter()
    for name, study in large.items():
        counts = Counter(_agreement(*pair) for pair in _pairs(study, small.get(name)))
        total += counts
        lines.append(f"| {escaped(study['title'])} | {_row(counts)} |")
    lines += [f"| **together** | {_row(total)} |", ""]
    for name, study in large.items():
        lines += [
            f"### [{escaped(study['title'])}]({pages}/{name}/page.md)",
            "",
            "| real decoder | small model |",
            "|---|---|",
        ]
        lines += [f"| {_said(here)} | {_said(there)} |" for here, there in _pairs(study, small.get(name))]
        lines += ["", f"`{study['command']}`; {made(study)}", ""]
    return lines[:-1]


def _pairs(
    study: dict[str, Any], other: dict[str, Any] | None
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """A study lists its findings in one order on every model; what one of them says besides stands at the end."""
    there = other["findings"] if other else []
    here = study["findings"]
    return zip(here, [*there, *[None] * len(here)], strict=False)


def _agreement(here: dict[str, Any], there: dict[str, Any] | None) -> str:
    if there is None:
        return "alone"
    if here["verdict"] == there["verdict"]:
        return "same"
    return "open" if "cannot tell" in (here["verdict"], there["verdict"]) else "opposite"


def _row(counts: Counter[str]) -> str:
    return f"{sum(counts.values())} | {counts['same']} | {counts['opposite']} | {counts['open']}"


def _said(finding: dict[str, Any] | None) -> str:
    return (
        "-" if finding is None else f"{MARKS[finding['verdict']]} **{finding['verdict']}**: {escaped(finding['text'])}"
    )


if __name__ == "__main__":
    main()
