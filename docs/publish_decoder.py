"""The studies of the scenes model with a real decoder beside those of the small one: the tables of `docs/decoder.md`.

`make studies-decoder` runs them. Each finding stands beside the same one of the small model, by its place in the study.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from beside import counts, side_by_side
from marks import between_marks
from publish_studies import finished, publish


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
    between_marks(
        options.page,
        "findings",
        [*counts(large, small), "", *side_by_side(large, small, ("real decoder", "small model"), options.pages.name)],
    )


def card(path: Path) -> list[str]:
    """How the model was trained and what it reaches, as its own card says it."""
    text = path.read_text(encoding="utf-8")
    return text.split("\n## Training\n")[1].strip().replace("\n## ", "\n### ").splitlines()


if __name__ == "__main__":
    main()
