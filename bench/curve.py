"""Overhead of SGRS over the refusal rate, beside the theory of blocks, as an SVG that needs nothing else."""

from __future__ import annotations

import math

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 400, 60, 50, 46, 20
COLOURS = {"auto": "#0b6e4f", "stepwise": "#b5541c", "theory": "#555555"}


def curve(title: str, share: float, measured: dict[str, list[tuple[float, float, float, float]]]) -> str:
    """`measured[execution]`: (refusal rate, ratio, low, high); `share`: f, for the theory 1 + sqrt(2 r (1 + f))."""
    points = [point for found in measured.values() for point in found]
    far = max(0.02, *(rate for rate, *_ in points)) * 1.05
    high = max(1.2, *(top for *_, top in points)) * 1.05

    def x(rate: float) -> float:
        return LEFT + math.sqrt(rate / far) * (WIDTH - LEFT - RIGHT)  # the small rates are those that matter

    def y(ratio: float) -> float:
        return HEIGHT - BOTTOM - (ratio - 0.9) / (high - 0.9) * (HEIGHT - BOTTOM - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{title}</text>',
    ]
    for rate in (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8):
        if rate <= far:
            parts.append(_line(x(rate), y(0.9), x(rate), y(high), "#dddddd"))
            parts.append(_text(x(rate), HEIGHT - BOTTOM + 18, f"{100 * rate:g} %"))
    for step in range(int((high - 1) / 0.25) + 1):
        ratio = 1 + 0.25 * step
        parts.append(_line(LEFT, y(ratio), WIDTH - RIGHT, y(ratio), "#dddddd"))
        parts.append(_text(LEFT - 8, y(ratio) + 4, f"{ratio:.2f}", "end"))
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 10, "tokens whose first draw was refused (square-root scale)"))
    theory = [(far * (i / 80) ** 2, 1 + math.sqrt(2 * far * (i / 80) ** 2 * (1 + share))) for i in range(81)]
    path = " ".join(f"{x(rate):.1f},{y(ratio):.1f}" for rate, ratio in theory if ratio <= high)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS["theory"]}" stroke-dasharray="5 4"/>')
    for name, found in measured.items():
        for rate, ratio, low, top in found:
            parts.append(_line(x(rate), y(low), x(rate), y(top), COLOURS[name]))
            parts.append(f'<circle cx="{x(rate):.1f}" cy="{y(ratio):.1f}" r="4" fill="{COLOURS[name]}"/>')
    names = {"theory": "theory 1 + sqrt(2 r (1 + f)), dashed", **{name: f"SGRS {name}" for name in measured}}
    for number, (name, label) in enumerate(names.items()):
        parts.append(_text(LEFT + 10 + 190 * number, 38, label, "start", COLOURS[name]))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle", colour: str = "#222222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'
