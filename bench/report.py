"""Writes the tables as JSON and Markdown."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

from .timing import Row


def write(
    folder: Path,
    machine: str,
    tables: dict[str, list[Row]],
    remarks: dict[str, str] | None = None,
    plots: dict[str, str] | None = None,
) -> str:
    """Write `<machine>-<date>.json` and `.md` into `folder`, and each plot (name -> SVG) beside them.

    Args:
        machine: in words; the files bear it in lower case, with nothing but letters, digits and hyphens.
        tables: rows by title; remarks: a line below the title.

    Returns:
        The Markdown.
    """
    today = datetime.date.today().isoformat()
    remarks, plots = remarks or {}, plots or {}
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{slug(machine)}-{today}"
    data = {
        "machine": machine,
        "date": today,
        "tables": {k: [r.as_dict() for r in rows] for k, rows in tables.items()},
        "remarks": remarks,
    }
    (folder / f"{stem}.json").write_text(json.dumps(data, indent=1) + "\n")
    for name, svg in plots.items():
        (folder / f"{stem}-{slug(name)}.svg").write_text(svg)
    text = markdown(machine, today, tables, remarks)
    text += "".join(f"\n![{name}]({stem}-{slug(name)}.svg)\n" for name in plots)
    (folder / f"{stem}.md").write_text(text)
    return text


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def markdown(machine: str, today: str, tables: dict[str, list[Row]], remarks: dict[str, str]) -> str:
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
