"""The page of `ablation`: verdicts, the grid as heat maps and table, one factor at a time, and the controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.pages.figures import interval, number, verdict
from lvlm_saliency.studies.ablation.findings import AIM, booster_findings, gate_findings
from lvlm_saliency.studies.figures import panels
from lvlm_saliency.studies.page import Cell, Page, Part, Picture, Table

if TYPE_CHECKING:
    from lvlm_saliency.studies.ablation.chance import Refusals
    from lvlm_saliency.studies.ablation.study import Ablation, Measured

PAPER = (
    "LLaVA-1.5, CHAIR_s / CHAIR_i by (alpha, beta): (0, 0) 48.0 / 13.9; (0, .15) 38.4 / 10.2; (.6, 0) 36.5 / 9.0; "
    "(.6, .15) 35.6 / 8.2; (.6, 1) 50.2 / 20.9. Qwen2-VL: (0, 0) 25.0 / 7.3; (0, .2) 23.5 / 6.8; (.6, 0) 20.5 / 5.6; "
    "(.6, .2) 19.3 / 5.1. It shows no control of the score and no interval."
)
SHOWN = tuple(FIGURES[name] for name in ("CHAIR_i", "CHAIR_s", "recall", "length"))


def page(study: Ablation, both: Mapping[str, Measured], n: int, setup: Mapping[str, str]) -> Page:
    """The whole result; `both` by candidate set: "as written" and inside top-p."""
    from lvlm_saliency.studies.ablation.study import named

    places = [(a, b) for a in study.numbers("alphas") for b in study.numbers("betas")]
    grid = [named(*place) for place in places] if "grid" in study.groups.split("/") else []
    parts = []
    for how, measured in both.items():
        rest = [name for name in measured.names if name not in grid]
        if grid:
            caption = (
                f"CHAIR_i (less is better) and recall (more is), {how}, n = {n} pictures. Alpha 0 draws among the top "
                "K and refuses nothing; beta 0 leaves attention alone."
            )
            picture = Picture(f"grid-{how.replace(' ', '-')}", caption, heat(study, measured))
            parts.append(Part(f"Grid of alpha and beta, {how}", "", [_table("Grid", grid, measured, n)], [picture]))
        tables = [_table("Settings", rest, measured, n)]
        tables += [_rates_table(measured.refusals)] if measured.refusals is not None else []
        parts.append(Part(f"One factor at a time and controls, {how}", "", tables))
    refused = [row for how, one in both.items() if one.refusals is not None for row in _refused(one.refusals, how)]
    return Page(
        title="Which settings matter, and is the score better than chance?",
        paper=PAPER,
        findings=[
            *(one for how, measured in both.items() for one in gate_findings(measured, f"{how}, n = {n}")),
            *booster_findings(next(iter(both.values())), f"n = {n}"),
        ],
        parts=parts,
        setup=dict(setup) | {"pictures described": str(n)},
        data={"ablation": [row for how, measured in both.items() for row in _rows(measured, how, n)]}
        | ({"refusals": refused} if refused else {}),
    )


def heat(study: Ablation, measured: Measured) -> Any:
    """CHAIR_i and recall over the grid, in percent; alpha downwards, beta to the right."""
    from lvlm_saliency.studies.ablation.study import named

    alphas, betas = study.numbers("alphas"), study.numbers("betas")
    figure, axes = panels(2, width=8.0, height=0.9 + 0.6 * len(alphas))
    for one, shown, colours in zip(axes, (AIM, FIGURES["recall"]), ("cividis_r", "cividis"), strict=True):
        values = [[100 * measured.figures(named(a, b))[shown.name] for b in betas] for a in alphas]
        drawn = one.imshow(values, cmap=colours, aspect="auto")
        one.grid(False)
        for row, line in enumerate(values):
            for column, value in enumerate(line):
                shade = drawn.cmap(drawn.norm(value))
                ink = "black" if sum(shade[:3]) > 1.5 else "white"
                one.text(column, row, f"{value:.1f}", ha="center", va="center", color=ink)
        one.set_xticks(range(len(betas)), [f"{b:g}" for b in betas])
        one.set_yticks(range(len(alphas)), [f"{a:g}" for a in alphas])
        one.set_xlabel(f"beta: {shown.shown} (%)")
        one.set_ylabel("alpha")
    return figure


def _table(title: str, names: list[str], measured: Measured, n: int) -> Table:
    rows = []
    for name in [GREEDY, *(name for name in names if name != GREEDY)]:
        values, other = measured.figures(name), measured.against(name) if name != GREEDY else None
        cells = [Cell(name)]
        for figure in SHOWN:
            one = other[figure.name] if other else None
            note = (
                ""
                if one is None
                else f"{number(figure, one['difference'], sign=True)} " + interval(figure, one["interval"], sign=True)
            )
            cells.append(Cell(number(figure, values[figure.name]), note, verdict(figure, one) if one else ""))
        gate = (measured.rejected(name), measured.fallbacks(name))
        rows.append((*cells, *(Cell("–" if rate != rate else f"{rate:.3f}") for rate in gate)))
    note = (
        f"n = {n} pictures. Percentages; length in words. Below each, the difference to greedy decoding with its 95 % "
        "interval, paired over pictures, with no correction for looking at many."
    )
    head = ("decoding", *(f.shown for f in SHOWN), "refused per token", "fallbacks per token")
    return Table(title, head, tuple(rows), note)


def _rates_table(refusals: Refusals) -> Table:
    """The rates of the control "by chance", for each number of candidates that a step had."""
    draws = range(1 + max((draw for _, draw in refusals.made), default=0))
    lines = []
    for of in sorted({of for of, _ in refusals.made}):
        counts = [(refusals.refused[of, draw], refusals.made[of, draw]) for draw in draws]
        cells = [Cell(f"{100 * out / made:.1f} %", f"of {made:,}") if made else Cell("–") for out, made in counts]
        lines.append((Cell(str(of)), *cells))
    note = (
        "Share of the draws that SGRS refused on these pictures where there was a threshold, by how many candidates "
        "the step had. “by chance” refuses with these probabilities and takes any candidate when all draws are used "
        "up. It writes other texts, whose steps have other numbers of candidates, so that its refusals per token come "
        "near those of SGRS and are not the same."
    )
    return Table("How often SGRS refuses", ("candidates", *(f"draw {draw + 1}" for draw in draws)), tuple(lines), note)


def _rows(measured: Measured, how: str, n: int) -> list[dict[str, Any]]:
    return [
        {"candidates": how, "n": n, "decoding": name, "system": measured.label(name), "figure": figure.name}
        | {"value": measured.figures(name)[figure.name]}
        | {"refused_per_token": measured.rejected(name), "fallbacks_per_token": measured.fallbacks(name)}
        | {"difference": one["difference"], "low": one["interval"][0], "high": one["interval"][1]}
        for name in measured.names
        for figure in SHOWN
        for one in [measured.against(name)[figure.name]]
    ]


def _refused(refusals: Refusals, how: str) -> list[dict[str, Any]]:
    return [
        {"candidates": how, "of": of, "draw": draw + 1, "made": made, "refused": refusals.refused[of, draw]}
        for (of, draw), made in sorted(refusals.made.items())
    ]
