"""Writes the tables as JSON and Markdown."""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from .timing import Row


@dataclass
class Results:
    """What was measured on one machine on one day, in `<machine>-<date>.json` and `.md` of a folder.

    Attributes:
        folder: of the files.
        machine: in words; the files bear it in lower case, with nothing but letters, digits and hyphens.
        today: the date, as in 2026-11-28.
        tables: rows by title.
        remarks: a line below the title.
        plots: SVG by name, each in a file of its own.
    """

    folder: Path
    machine: str
    today: str = field(default_factory=lambda: datetime.date.today().isoformat())
    tables: dict[str, list[Row]] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    plots: dict[str, str] = field(default_factory=dict)

    @classmethod
    def opened(cls, folder: Path, machine: str) -> Results:
        """The results of today, with what the files hold already."""
        found = cls(folder, machine)
        if (file := found._file(".json")).exists():
            data = json.loads(file.read_text())
            found.tables = {title: [Row(**row) for row in rows] for title, rows in data["tables"].items()}
            found.remarks = data["remarks"]
            for name in data.get("plots", []):
                found.plots[name] = found._file(f"-{slug(name)}.svg").read_text()
        return found

    @property
    def parts(self) -> set[str]:
        """Keys of the parts whose rows are there."""
        return {row.part for rows in self.tables.values() for row in rows}

    def put(self, title: str, part: str, rows: list[Row]) -> None:
        """Rows of a part, in place of those that it had."""
        for row in rows:
            row.part = part
        before = self.tables.get(title, [])
        self.tables[title] = [*(row for row in before if row.part != part), *rows]

    def write(self) -> str:
        """Write the files, and return the Markdown."""
        self.folder.mkdir(parents=True, exist_ok=True)
        data = {
            "machine": self.machine,
            "date": self.today,
            "tables": {title: [row.as_dict() for row in rows] for title, rows in self.tables.items()},
            "remarks": self.remarks,
            "plots": list(self.plots),
        }
        text = markdown(self.machine, self.today, self.tables, self.remarks)
        for name, svg in self.plots.items():
            picture = self._file(f"-{slug(name)}.svg")
            picture.write_text(svg)
            text += f"\n![{name}]({picture.name})\n"
        self._file(".json").write_text(json.dumps(data, indent=1) + "\n")
        self._file(".md").write_text(text)
        return text

    def _file(self, end: str) -> Path:
        return self.folder / f"{slug(self.machine)}-{self.today}{end}"


def slug(text: str) -> str:
    """The text in lower case, with hyphens in place of all but letters and digits."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def markdown(machine: str, today: str, tables: dict[str, list[Row]], remarks: dict[str, str]) -> str:
    """The tables as Markdown."""
    lines = [
        f"Machine: {machine}. Date: {today}. Ratios are method / baseline, alternated in one run: median [min, max]."
    ]
    for title, rows in tables.items():
        lines += ["", f"**{title}**", ""]
        if title in remarks:
            lines += [remarks[title], ""]
        lines += ["| what | against | goal | ratio | seconds | met | notes |", "|---|---|---|---|---|---|---|"]
        lines += [_line(row) for row in rows]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    met = {True: "yes", False: "**no**", None: "-"}[row.met]
    notes = "; ".join(f"{k.replace('_', ' ')} {_short(v)}" for k, v in row.notes.items())
    ratio = f"{row.ratio:.3g} [{row.low:.3g}, {row.high:.3g}]"
    return f"| {row.what} | {row.against} | {row.goal} | {ratio} | {row.seconds:.3g} | {met} | {notes} |"


def _short(value) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_short(v)}" for k, v in value.items())
    return str(value)
