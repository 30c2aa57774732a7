"""The study of facts on a second real model beside the first: the table in `docs/facts.md` (`make facts`)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from beside import counts, side_by_side
from marks import between_marks
from publish_studies import finished, publish


def main() -> None:
    """Publish the second model's page, and write both models' findings between the marks of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=Path("runs/real/gemma3-270m"), help="--out of its study")
    parser.add_argument(
        "--beside", type=Path, default=Path("docs/studies"), help="the published one of the first model"
    )
    parser.add_argument("--page", type=Path, default=Path("docs/facts.md"))
    parser.add_argument("--pages", type=Path, default=Path("docs/facts"), help="folder of the study's own page")
    options = parser.parse_args()
    second, first = finished(options.source), finished(options.beside)
    if not second:
        sys.exit(f"error: no finished study in {options.source}; run make facts")
    for name, study in second.items():
        publish(options.source / name, options.pages / name, study)
    models = ("Gemma 3 270M", "SmolLM2-135M-Instruct")
    between_marks(
        options.page, "findings", [*counts(second, first), "", *side_by_side(second, first, models, options.pages.name)]
    )


if __name__ == "__main__":
    main()
