"""The page of a study: verdicts first, then tables and figures, and how it was made."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlm_saliency.files import json_lines as store
from lvlm_saliency.files import make_folder
from lvlm_saliency.pages.markdown import escaped, fenced, paragraph, table_lines
from lvlm_saliency.pages.tables import Cell, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CANNOT_TELL", "FAILS", "HOLDS", "Cell", "Finding", "Page", "Part", "Picture", "Table"]

HOLDS, FAILS, CANNOT_TELL = "holds", "does not hold", "cannot tell"
MARKS = {HOLDS: "✓", FAILS: "✗", CANNOT_TELL: "?"}


@dataclass(frozen=True)
class Finding:
    """A conclusion in plain words.

    Attributes:
        verdict: HOLDS, FAILS or CANNOT_TELL (on this model).
        text: the claim and why.
    """

    verdict: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A figure: `stem` names its files, `caption` says what is seen, `draw` makes it (matplotlib)."""

    stem: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Part:
    """A section: paragraphs, then tables and figures."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass
class Page:
    """A study's whole result.

    Attributes:
        paper: what the paper claims or reports, in a sentence or two.
        findings: the conclusions.
        data: name to rows, each written as JSON lines and as CSV.
        files: further files: name to text.
    """

    title: str
    paper: str
    findings: Sequence[Finding]
    parts: Sequence[Part]
    setup: Mapping[str, str]
    command: str = ""
    data: dict[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write data, figures (PNG and SVG), findings.json, page.md and page.html; returns the HTML file."""
        drawings: dict[str, str] = {}
        for part in self.parts:
            for picture in part.pictures:
                drawings[picture.stem] = _draw(picture, folder)
        for name, rows in self.data.items():
            store.write_whole(folder / f"{name}.jsonl", "".join(store.as_json(row) + "\n" for row in rows))
            store.write_whole(folder / f"{name}.csv", _csv(rows))
        for name, text in self.files.items():
            store.write_whole(folder / name, text)
        store.write_whole(folder / "findings.json", store.as_json(self.summary(), indent=1) + "\n")
        store.write_whole(folder / "page.md", self.markdown())
        store.write_whole(folder / "page.html", self.html(drawings))
        return folder / "page.html"

    def summary(self) -> dict[str, Any]:
        """Title, findings, command and setup, JSON-ready: what an index of studies shows of each."""
        findings = [{"verdict": finding.verdict, "text": finding.text} for finding in self.findings]
        return {"title": self.title, "findings": findings, "command": self.command, "setup": dict(self.setup)}

    def markdown(self) -> str:
        """The page for a repository; figures are linked as PNG files beside it."""
        lines = [f"# {escaped(self.title)}", ""]
        lines += [f"- **{finding.verdict}**: {escaped(finding.text)}" for finding in self.findings]
        lines += ["", f"The paper: {escaped(self.paper)}", ""]
        for part in self.parts:
            lines += [f"## {escaped(part.title)}", ""]
            lines += [line and paragraph(line) for line in part.text.split("\n")] + [""] if part.text else []
            for picture in part.pictures:
                lines += [f"![{escaped(picture.caption)}]({picture.stem}.png)", "", f"_{escaped(picture.caption)}_", ""]
            for table in part.tables:
                lines += [f"**{escaped(table.title)}**", "", *table_lines(table)]
        lines += ["## How it was made", ""]
        lines += [*fenced(self.command), ""] if self.command else []
        lines += [paragraph("; ".join(f"{name}: {value}" for name, value in self.setup.items())), ""]
        return "\n".join(lines)

    def html(self, drawings: Mapping[str, str]) -> str:
        """The page as one file, figures inside; `drawings`: SVG text by stem."""
        template = _environment().from_string(_read("lvlm_saliency.studies", "page.html.j2"))
        style = _read("lvlm_saliency.evaluation", "summary.css") + _read("lvlm_saliency.studies", "page.css")
        return template.render(page=self, drawings=drawings, style=style, marks=MARKS)


def _draw(picture: Picture, folder: Path) -> str:
    """Write the figure's two files; its SVG without the XML head, for the page."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    make_folder(folder)
    FigureCanvasAgg(picture.figure)
    picture.figure.savefig(folder / f"{picture.stem}.png", dpi=150, metadata={"Software": None})
    text = io.StringIO()
    # One salt and no date: the same data give the same bytes.
    with mpl.rc_context({"svg.hashsalt": picture.stem, "svg.fonttype": "path"}):
        picture.figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    store.write_whole(folder / f"{picture.stem}.svg", text.getvalue())
    return text.getvalue()[text.getvalue().index("<svg") :]


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(store.plain(row) for row in rows)
    return text.getvalue()


@cache
def _environment() -> Any:
    from jinja2 import Environment, StrictUndefined

    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _read(package: str, name: str) -> str:
    return (files(package) / "templates" / name).read_text(encoding="utf-8")
