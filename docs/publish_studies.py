"""Finished studies into the documents: pages, figures, and an index with every verdict (`make studies`)."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from marks import between_marks

from lvlm_saliency.pages.markdown import escaped
from lvlm_saliency.studies import STUDIES
from lvlm_saliency.studies.page import MARKS

PUBLISHED = ("page.md", "*.png", "*.yaml")  # what a reader opens; data, SVG and HTML stay in the folder of the run
APART = ("machine", "python", "torch", "transformers", "tokenizers", "numpy", "pillow", "lvlm-saliency")


def main() -> None:
    """Copy what is published of each finished study, and write the index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=Path("runs/studies"), help="the --out of `lvlm-saliency study`")
    parser.add_argument("--out", type=Path, default=Path("docs/studies"))
    parser.add_argument(
        "--summary", type=Path, help="page beside --out: write each study's first finding between its marks"
    )
    options = parser.parse_args()
    found = finished(options.source)
    if not found:
        sys.exit(f"error: no finished study in {options.source}; run lvlm-saliency study all --out {options.source}")
    for name in found:
        publish(options.source / name, options.out / name)
    (options.out / "README.md").write_text(index(found), encoding="utf-8")
    if options.summary is not None:
        between_marks(options.summary, "studies", headlines(found, options.out.name))


def finished(source: Path) -> dict[str, dict[str, Any]]:
    """Name to what `Page.summary` says, and the day it was made, for each study that has a page."""
    found = {}
    for name in STUDIES:
        file = source / name / "findings.json"
        if file.exists():
            made = datetime.fromtimestamp(file.stat().st_mtime, tz=timezone.utc).date().isoformat()
            found[name] = {**json.loads(file.read_text(encoding="utf-8")), "date": made}
    return found


def publish(source: Path, out: Path) -> None:
    """The published files of one study, in place of those of an earlier run."""
    out.mkdir(parents=True, exist_ok=True)
    for pattern in PUBLISHED:
        for old in out.glob(pattern):
            old.unlink()
        for new in sorted(source.glob(pattern)):
            shutil.copyfile(new, out / new.name)


def index(found: dict[str, dict[str, Any]]) -> str:
    """Every verdict, study by study, then how all of it was made."""
    lines = ["# Is it true?", ""]
    lines += [
        "What each study concludes, decided by intervals; the pages have the figures, the tables and the controls. "
        "[How to read them, and how to run them on your own model](../studies.md).",
        "",
    ]
    for name, study in found.items():
        lines += [f"## [{escaped(study['title'])}]({name}/page.md)", "", f"_{escaped(STUDIES[name][1])}_", ""]
        lines += [
            f"- {MARKS[one['verdict']]} **{one['verdict']}**: {escaped(one['text'])}" for one in study["findings"]
        ]
        lines += [""]
    lines += ["## How it was made", "", "`make studies` writes this page and those it links to.", "", "```"]
    lines += [study["command"] for study in found.values()]
    lines += ["```", ""]
    for text in dict.fromkeys(_made(study) for study in found.values()):
        lines += [text, ""]
    return "\n".join(lines)


def headlines(found: dict[str, dict[str, Any]], folder: str) -> list[str]:
    """The first finding of each study, with its page in `folder`, and how they were made."""
    lines = []
    for name, study in found.items():
        one = study["findings"][0]
        lines.append(f"- [{name}]({folder}/{name}/page.md): {MARKS[one['verdict']]} {escaped(one['text'])}")
    return [*lines, "", *dict.fromkeys(_made(study) for study in found.values())]


def _made(study: dict[str, Any]) -> str:
    told = [f"{name}: {study['setup'][name]}" for name in APART if name in study["setup"]]
    return "; ".join([study["date"], *told])


if __name__ == "__main__":
    main()
