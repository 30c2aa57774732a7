"""Finished studies into the documents: pages, figures, and an index with every verdict (`make studies`).

A study that was published before and is not in this run stays as it is, with its own date.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from marks import between_marks

from lvlm_saliency.cli.detectors import describe
from lvlm_saliency.detection.registry import detectors
from lvlm_saliency.pages.markdown import escaped
from lvlm_saliency.studies import STUDIES
from lvlm_saliency.studies.page import MARKS

PUBLISHED = ("page.md", "*.png", "*.yaml")  # what a reader opens; data, SVG and HTML stay in the folder of the run
VERDICTS = "findings.json"  # what the index is made of, with the day
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pillow", "lvlm-saliency")
MAIN_COLUMNS = 12  # of the table of all detectors
APART = ("model", "weights", "machine", "python", *PACKAGES)


def main() -> None:
    """Copy what is published of each finished study, and write the index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=Path("runs/studies"), help="the --out of `lvlm-saliency study`")
    parser.add_argument("--out", type=Path, default=Path("docs/studies"))
    parser.add_argument(
        "--summary", type=Path, help="page beside --out: write each study's first finding between its marks"
    )
    parser.add_argument(
        "--detectors",
        type=Path,
        help="page beside --out: write the table of all detectors and what each needs between its marks",
    )
    options = parser.parse_args()
    found = finished(options.source)
    if not found:
        sys.exit(f"error: no finished study in {options.source}; run lvlm-saliency study all --out {options.source}")
    for name, study in found.items():
        publish(options.source / name, options.out / name, study)
    known = finished(options.out)
    (options.out / "README.md").write_text(index(known), encoding="utf-8")
    if options.summary is not None:
        between_marks(options.summary, "studies", headlines(known, options.out.name))
    if options.detectors is not None and "detectors" in known:
        between_marks(options.detectors, "table", detectors_table(options.out / "detectors", known["detectors"]))
        between_marks(options.detectors, "needs", needs_table(options.out / "detectors"))


def finished(folder: Path) -> dict[str, dict[str, Any]]:
    """Name to what `Page.summary` says, and the day it was made, for each study that has a page in `folder`."""
    found = {}
    for name in STUDIES:
        file = folder / name / VERDICTS
        if file.exists():
            made = datetime.fromtimestamp(file.stat().st_mtime, tz=timezone.utc).date().isoformat()
            found[name] = {"date": made, **json.loads(file.read_text(encoding="utf-8"))}
    return found


def publish(source: Path, out: Path, study: dict[str, Any]) -> None:
    """The published files of one study, and its verdicts, in place of those of an earlier run."""
    out.mkdir(parents=True, exist_ok=True)
    for pattern in PUBLISHED:
        for old in out.glob(pattern):
            old.unlink()
        for new in sorted(source.glob(pattern)):
            shutil.copyfile(new, out / new.name)
    (out / VERDICTS).write_text(json.dumps(study, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def index(found: dict[str, dict[str, Any]]) -> str:
    """Every verdict, study by study, then how all of it was made."""
    lines = ["# Is it true?", ""]
    lines += [
        "What each study concludes, decided by intervals; the pages have the figures, the tables and the controls. "
        "[How to read them, and how to run them on your own model](../studies.md).",
        "",
        *_weights(found),
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
    return "\n".join([*lines, *_made_together(found), ""])


def headlines(found: dict[str, dict[str, Any]], folder: str) -> list[str]:
    """The first finding of each study, with its page in `folder`, and how they were made."""
    lines = []
    for name, study in found.items():
        one = study["findings"][0]
        title = f"[{escaped(study['title'])}]({folder}/{name}/page.md)"
        lines.append(f"- {title} {MARKS[one['verdict']]} **{one['verdict']}**: {escaped(one['text'])}")
    return [*_weights(found), *lines, "", *_made_together(found)]


def detectors_table(folder: Path, study: dict[str, Any]) -> list[str]:
    """The main table of the published comparison of detectors, and how it was made, for a page beside its folder."""
    page = (folder / "page.md").read_text(encoding="utf-8")
    section = page.split("\n## The table\n")[1].split("\n## ")[0].strip()
    beside = f"{folder.parent.name}/{folder.name}"
    lines = section.replace("](forest.png)", f"]({beside}/forest.png)").replace("](cost.png)", f"]({beside}/cost.png)")
    return [*lines.splitlines(), "", f"`{study['command']}`; {made(study)}"]


def needs_table(folder: Path) -> list[str]:
    """What every detector needs, beside what the comparison found of its cost and its worth."""
    measured = {}
    for line in (folder / "page.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == MAIN_COLUMNS:
            measured[cells[0]] = (cells[3].partition("(")[2].rstrip(")"), cells[5].partition(" ")[0])
    lines = [
        "| detector | paper | needs | further passes | training | causal | cost in plain passes | within position |",
        "|" + "---|" * 8,
    ]
    for name in detectors():
        told = describe(name)
        columns = [told[key] or "–" for key in ("paper", "needs", "passes", "training", "causal")]
        lines.append("| " + " | ".join([f"`{name}`", *columns, *measured.get(name, ("–", "–"))]) + " |")
    return lines


def _weights(found: dict[str, dict[str, Any]]) -> list[str]:
    """A warning where not all studies of one model are of the weights of the newest of them."""
    told = []
    for model in dict.fromkeys(study["setup"].get("model") for study in found.values()):
        own = {name: study for name, study in found.items() if study["setup"].get("model") == model}
        newest = own[max(own, key=lambda name: own[name]["date"])]["setup"].get("weights")
        older = [name for name, study in own.items() if study["setup"].get("weights") != newest]
        if older:
            told += [f"{', '.join(older)}: measured on weights from before the newest ones ({newest})."]
    return [f"**Which weights.** {' '.join(told)} The last lines say which.", ""] if told else []


def _made_together(found: dict[str, dict[str, Any]]) -> list[str]:
    """When and on what, once for all the studies that share it, each a paragraph."""
    groups: dict[str, list[str]] = {}
    for name, study in found.items():
        groups.setdefault(made(study), []).append(name)
    told = [f"{', '.join(names)}: {made}" for made, names in groups.items()]
    return [line for one in told for line in (one, "")][:-1]


def made(study: dict[str, Any]) -> str:
    """The day, and what a study was made with."""
    told = [f"{name}: {study['setup'][name]}" for name in APART if name in study["setup"]]
    return "; ".join([study["date"], *told])


if __name__ == "__main__":
    main()
