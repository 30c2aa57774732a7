"""The threshold as a knob: the guard's curve of CHAIR_i against recall, its controls and every other decoder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from guard_run import Measured


def rivals(page: Path) -> dict[str, tuple[float, float]]:
    """(recall, CHAIR_i) of every other decoder, from the table of docs/results."""
    found = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 8 and re.match(r"[\d.]+ \[", cells[1]):
            numbers = [float(re.match(r"[\d.]+", cell).group()) for cell in cells[1:4]]  # type: ignore[union-attr]
            found[cells[0]] = (numbers[2], numbers[1])
    return found


def curve(run: Measured, points: Mapping[str, str], pictures: int) -> list[tuple[str, float, float]]:
    """(title, recall, CHAIR_i) of these systems on the first pictures, percentages."""
    found = []
    for label, title in points.items():
        values = run.table(label, pictures=pictures).values()
        found.append((title, 100 * values["recall"], 100 * values["CHAIR_i"]))
    return found


def above(line: Sequence[tuple[str, float, float]], others: Mapping[str, tuple[float, float]]) -> list[str]:
    """The decoders that no point of the curve is at least as good as, in recall and in CHAIR_i."""
    return [
        name
        for name, (recall, chair) in others.items()
        if not any(r >= recall - 0.05 and c <= chair + 0.05 for _, r, c in line)
    ]


def compared(line: Sequence[tuple[str, float, float]], others: Mapping[str, tuple[float, float]]) -> str:
    """Which decoders are not below the guard's points, and the points, in words."""
    told = "Every other decoder has less recall or a higher CHAIR\\_i than some point of the curve, and neither better."
    if beyond := above(line, others):
        listed = "; ".join(f"{name} {others[name][0]:.1f} / {others[name][1]:.1f}" for name in beyond)
        told = f"Not below the curve (recall / CHAIR\\_i): {listed}. Every other decoder is."
    points = "; ".join(f"{title} {x:.1f} / {y:.1f}" for title, x, y in line)
    return f"{told} The curve (recall / CHAIR\\_i): {points}."


def places(points: Sequence[tuple[str, float, float]]) -> tuple[list[float], list[float]]:
    """Where points stand: their x and their y."""
    return [x for _, x, _ in points], [y for _, _, y in points]


def draw(
    line: Sequence[tuple[str, float, float]],
    searched: Sequence[tuple[str, float, float]],
    extra: Sequence[tuple[str, float, float]],
    others,
    file: Path,
    pictures: int,
):
    """The figure: the guard's curve, its points over beams, its controls, and every other decoder as a point."""
    from lvlm_saliency.studies.figures import BLUE, GREY, ORANGE, panels

    figure, (axes,) = panels(width=8.0, height=5.2)
    line = sorted(line, key=lambda point: point[2])  # from what acts most to greedy decoding
    axes.plot(
        *places(line),
        color=BLUE,
        marker="o",
        linewidth=1.6,
        label="the guard, by recall_loss",
    )
    for title, x, y in line:
        axes.annotate(title, (x, y), textcoords="offset points", xytext=(5, -11), fontsize=7, color=BLUE)
    axes.scatter(
        *places(searched),
        color=BLUE,
        marker="D",
        s=26,
        label="the guard over beams",
    )
    for number, (title, x, y) in enumerate(searched):  # close together: one label above the other
        at = (-14, 9 + 10 * number)
        axes.annotate(title, (x, y), textcoords="offset points", xytext=at, fontsize=7, color=BLUE)
    axes.scatter(*places(extra), color=ORANGE, marker="s", s=28, label="controls")
    for title, x, y in extra:
        axes.annotate(title, (x, y), textcoords="offset points", xytext=(5, 3), fontsize=7, color=ORANGE)
    shown = {name: point for name, point in others.items() if point[0] > 90}
    axes.scatter(
        [p[0] for p in shown.values()],
        [p[1] for p in shown.values()],
        color=GREY,
        marker="^",
        s=26,
        label="other decoders",
    )
    for name, (x, y) in shown.items():
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(5, 3), fontsize=7, color=GREY)
    axes.set_xlabel(f"recall (%), first {pictures} scenes")
    axes.set_ylabel("CHAIR_i (%)")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150, metadata={"Software": None})
