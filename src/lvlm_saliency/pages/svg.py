"""Plots as inline SVG, coloured by the page's style sheet, so that a summary is one file that needs no network."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

ROW, TOP, BOTTOM, PANEL, GAP = 26, 40, 26, 190, 26
WIDTH, LETTER, LINE, LONGEST = 400, 7, 13, 24
"""Width of a drawing, small enough for its letters to be readable when it is scaled down on a phone; largest width of a
letter; height of a line; and how many letters a line may have."""


@dataclass(frozen=True)
class Mark:
    """A value with an interval. kind: "plain" (filled) or "matched" (hollow, below); tone as of a table's cell."""

    value: float
    low: float
    high: float
    kind: str = "plain"
    tone: str = ""


def forest(title: str, rows: Sequence[str], panels: Sequence[tuple[str, Sequence[Sequence[Mark]]]]) -> str:
    """Differences with intervals: one line per row, one drawing per figure, so that a narrow screen can lay them below
    one another. `panels`: (title, marks of each row)."""
    left, row = 14 + LETTER * _longest(rows), _row_height(rows)
    width = left + PANEL + GAP
    height = TOP + row * len(rows) + BOTTOM
    names = [_name(8, TOP + row * (i + 0.5), name, "row") for i, name in enumerate(rows)]
    drawn = [
        _svg(f"{title}: {name}", width, height, [*names, _panel(left, row, name, marks)]) for name, marks in panels
    ]
    return "".join(drawn)


def _panel(x: float, row: float, name: str, rows: Sequence[Sequence[Mark]]) -> str:
    bounds = [bound for marks in rows for mark in marks for bound in (mark.low, mark.high, mark.value)]
    reach = max([abs(bound) for bound in bounds if math.isfinite(bound)], default=1.0) * 1.12 or 1.0
    bottom = TOP + row * len(rows)

    def at(value: float) -> float:
        return x + PANEL / 2 + value / reach * PANEL / 2

    parts = [
        _text(x + PANEL / 2, 16, name, "panel"),
        f'<line class="zero" x1="{at(0):.1f}" x2="{at(0):.1f}" y1="{TOP - 8}" y2="{bottom}"/>',
    ]
    for tick in _ticks(reach):
        parts.append(f'<line class="grid" x1="{at(tick):.1f}" x2="{at(tick):.1f}" y1="{TOP - 8}" y2="{bottom}"/>')
        parts.append(_text(at(tick), bottom + 16, f"{tick:+g}".replace("-", "−") if tick else "0", "tick"))
    for index, marks in enumerate(rows):
        for mark in marks:
            if not all(map(math.isfinite, (mark.value, mark.low, mark.high))):
                continue
            y = TOP + row * (index + 0.5) + (5 if mark.kind == "matched" else -3 if len(marks) > 1 else 0)
            kind = f"{mark.kind} {mark.tone}".strip()
            parts.append(
                f'<line class="range {kind}" x1="{at(mark.low):.1f}" x2="{at(mark.high):.1f}" y1="{y}" y2="{y}"/>'
            )
            parts.append(f'<circle class="dot {kind}" cx="{at(mark.value):.1f}" cy="{y}" r="4"/>')
    return "".join(parts)


@dataclass(frozen=True)
class Point:
    """A named point with an interval along both axes."""

    name: str
    x: tuple[float, float, float]  # low, value, high
    y: tuple[float, float, float]


def scatter(
    title: str, x_name: str, y_name: str, points: Sequence[Point], lines: Sequence[Sequence[Point]] = ()
) -> str:
    """Two figures against each other, intervals as crosses. lines: points that are joined, in their order."""
    width, height, left, top, right, bottom = WIDTH, 300, 58, 18, 24, 44
    points = [p for p in points if all(map(math.isfinite, (*p.x, *p.y)))]
    if not points:
        return ""
    spans = []
    for axis in ("x", "y"):
        values = [value for point in points for value in getattr(point, axis)]
        pad = (max(values) - min(values)) * 0.08 or 1.0
        spans.append((min(values) - pad, max(values) + pad))
    (x0, x1), (y0, y1) = spans

    def px(value: float) -> float:
        return left + (value - x0) / (x1 - x0) * (width - left - right)

    def py(value: float) -> float:
        return height - bottom - (value - y0) / (y1 - y0) * (height - top - bottom)

    parts = []
    for tick in _between(x0, x1):
        parts.append(f'<line class="grid" x1="{px(tick):.1f}" x2="{px(tick):.1f}" y1="{top}" y2="{height - bottom}"/>')
        parts.append(_text(px(tick), height - bottom + 16, f"{tick:g}", "tick"))
    for tick in _between(y0, y1):
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{py(tick):.1f}" y2="{py(tick):.1f}"/>')
        parts.append(_text(left - 8, py(tick) + 4, f"{tick:g}", "tick end"))
    parts.append(_text((left + width - right) / 2, height - 6, x_name, "axis"))
    middle = (top + height - bottom) / 2
    parts.append(f'<text class="axis" transform="translate(13 {middle:.0f}) rotate(-90)">{escape(y_name)}</text>')
    for line in lines:
        corners = [f"{px(p.x[1]):.1f},{py(p.y[1]):.1f}" for p in line if p in points]
        parts.append(f'<polyline class="range" fill="none" points="{" ".join(corners)}"/>')
    lowest = -math.inf
    for point in sorted(points, key=lambda p: py(p.y[1])):
        x, y = px(point.x[1]), py(point.y[1])
        words = _lines(point.name)
        label = max(y - 7, lowest + LINE)  # above its cross, and never on another label
        lowest = label + LINE * (len(words) - 1)
        parts.append(
            f'<line class="range" x1="{px(point.x[0]):.1f}" x2="{px(point.x[2]):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<line class="range" x1="{x:.1f}" x2="{x:.1f}" y1="{py(point.y[0]):.1f}" y2="{py(point.y[2]):.1f}"/>'
        )
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        room = x + 8 + LETTER * _longest([point.name]) <= width  # else to the left of its point
        at, kind = (x + 8, "label") if room else (x - 8, "label end")
        parts += [_text(at, label + LINE * number, line, kind) for number, line in enumerate(words)]
    return _svg(title, width, height, parts)


def bars(title: str, unit: str, rows: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars with their values."""
    names = [name for name, _ in rows]
    left, row = 14 + LETTER * _longest(names), _row_height(names)
    width = max(WIDTH, left + 160)
    most = max((value for _, value in rows if math.isfinite(value)), default=1.0) or 1.0
    parts = []
    for index, (name, value) in enumerate(rows):
        y = 12 + row * index
        length = (width - left - 110) * value / most if math.isfinite(value) else 0
        parts.append(_name(8, y + (ROW - 9) / 2, name, "row"))
        parts.append(f'<rect class="bar" x="{left}" y="{y}" width="{length:.1f}" height="{ROW - 9}" rx="3"/>')
        parts.append(_text(left + length + 7, y + 13, f"{value:.1f} {unit}", "value"))
    return _svg(title, width, 12 + row * len(rows) + 6, parts)


def _lines(name: str) -> list[str]:
    """A name in lines of at most `LONGEST` letters, broken after its separators where it has any."""
    lines = [""]
    for piece in re.findall(r"[^:,+ ]*[:,+ ]?", name):
        if lines[-1] and len(lines[-1] + piece) > LONGEST:
            lines.append("")
        lines[-1] += piece
    return [line[at : at + LONGEST] for line in lines for at in range(0, len(line) or 1, LONGEST)]


def _longest(names: Sequence[str]) -> int:
    return max(len(line) for name in names for line in _lines(name))


def _row_height(names: Sequence[str]) -> float:
    return max(ROW, LINE * max(len(_lines(name)) for name in names) + 8)


def _name(x: float, middle: float, name: str, kind: str) -> str:
    """A name whose lines stand around `middle`."""
    lines = _lines(name)
    first = middle + 4 - LINE * (len(lines) - 1) / 2
    return "".join(_text(x, first + LINE * number, line, kind) for number, line in enumerate(lines))


def _between(low: float, high: float) -> list[float]:
    step = _step(high - low)
    first = math.ceil(low / step)
    return [round(step * k, 10) for k in range(first, math.floor(high / step) + 1)]


def _ticks(reach: float) -> list[float]:
    step = _step(2 * reach)
    count = math.floor(reach / step)
    return [round(step * k, 10) for k in range(-count, count + 1)]


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that about four ticks lie in the span."""
    raw = span / 4
    power = 10 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}" '
        f'style="max-width:{width:.0f}px">{"".join(parts)}</svg>'
    )
