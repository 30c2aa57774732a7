"""Writes the tables as JSON and Markdown."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from .timing import Row


def write(folder: Path, name: str, machine: str, tables: dict[str, list[Row]]) -> str:
    """Write `<name>-<date>.json` and `.md` into `folder`; returns the Markdown."""
    today = datetime.date.today().isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    data = {"machine": machine, "date": today, "tables": {k: [r.as_dict() for r in rows] for k, rows in tables.items()}}
    (folder / f"{name}-{today}.json").write_text(json.dumps(data, indent=1) + "\n")
    text = markdown(machine, today, tables)
    (folder / f"{name}-{today}.md").write_text(text)
    return text


def markdown(machine: str, today: str, tables: dict[str, list[Row]]) -> str:
    lines = [
        f"Machine: {machine}. Date: {today}. Ratios are method / baseline, alternated in one run: median [min, max]."
    ]
    for title, rows in tables.items():
        lines += [
            "",
            f"**{title}**",
            "",
            "| what | against | goal | ratio | seconds | met | notes |",
            "|---|---|---|---|---|---|---|",
        ]
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
