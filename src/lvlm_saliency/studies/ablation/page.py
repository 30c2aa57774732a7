"""The page of `ablation`: verdicts, the grid as heat maps and table, one factor at a time, and the controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lvlm_saliency.evaluation.report.figures import FIGURES, interval, number, verdict
from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED
from lvlm_saliency.interventions.locore import SPACES
from lvlm_saliency.studies.figures import panels
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Cell, Finding, Page, Part, Picture, Table

if TYPE_CHECKING:
    from lvlm_saliency.studies.ablation.study import Ablation, Measured

PAPER = (
    "LLaVA-1.5, CHAIR_s / CHAIR_i by (alpha, beta): (0, 0) 48.0 / 13.9; (0, .15) 38.4 / 10.2; (.6, 0) 36.5 / 9.0; "
    "(.6, .15) 35.6 / 8.2; (.6, 1) 50.2 / 20.9. Qwen2-VL: (0, 0) 25.0 / 7.3; (0, .2) 23.5 / 6.8; (.6, 0) 20.5 / 5.6; "
    "(.6, .2) 19.3 / 5.1. It shows no control of the score and no interval."
)
AIM = FIGURES["CHAIR_i"]
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
        parts.append(Part(f"One factor at a time and controls, {how}", "", [_table("Settings", rest, measured, n)]))
    return Page(
        title="Which settings matter, and is the score better than chance?",
        paper=PAPER,
        findings=[
            *(one for how, measured in both.items() for one in gate_findings(measured, f"{how}, n = {n}")),
            *booster_findings(next(iter(both.values())), f"n = {n}"),
        ],
        parts=parts,
        setup=dict(setup) | {"pictures described": str(n)},
        data={"ablation": [row for how, measured in both.items() for row in _rows(measured, how, n)]},
    )


def compared(claim: str, found: Mapping[str, Any], where: str) -> Finding:
    """A claim that CHAIR_i is lower: HOLDS where the whole interval is below 0, FAILS where it is above."""
    low, high = found["interval"]
    said = HOLDS if high < 0 else FAILS if low > 0 else CANNOT_TELL
    lead = {HOLDS: "Yes", FAILS: "No, the opposite", CANNOT_TELL: "Not shown"}[said]
    return Finding(
        said,
        f"{claim} {lead}: CHAIR_i {_points(found['difference'])} points [{_points(low)}, {_points(high)}], "
        f"± {number(AIM, (high - low) / 2)} ({where}).",
    )


def _points(share: float) -> str:
    """To two places: a bound near 0 shows on which side of it it lies."""
    return f"{100 * share:+.2f}".replace("-", "−")


def gate_findings(measured: Measured, where: str) -> list[Finding]:
    """The verdicts on SGRS for one candidate set, from paired intervals over pictures."""
    aim = AIM.name
    found = [
        compared("Does SGRS hallucinate less than plain sampling?", measured.against("SGRS", SAMPLED)[aim], where),
        compared("Does SGRS hallucinate less than greedy decoding?", measured.against("SGRS")[aim], where),
    ]
    if "shuffled" in measured.names:
        mine, theirs = measured.rejected("SGRS"), measured.rejected("shuffled")
        rates = f"{where}; {mine:.3f} refusals per token against {theirs:.3f} shuffled"
        claim = "Does the score of SGRS do better than the same scores shuffled?"
        found.append(compared(claim, measured.against("SGRS", "shuffled")[aim], rates))
        claim = "Does SGRS do better than with its sign turned?"
        found.append(compared(claim, measured.against("SGRS", "turned")[aim], where))
    return found


def booster_findings(measured: Measured, where: str) -> list[Finding]:
    """The verdicts on LocoRE, which draws nothing, so that no candidate set is part of them."""
    from lvlm_saliency.studies.ablation.study import reading

    aim = AIM.name
    claim = "Does LocoRE hallucinate less than greedy captions of the same length?"
    found = [compared(claim, measured.matched("LocoRE")[aim], where)]
    if "window" in measured.names:
        claim = "Does the window of LocoRE do better than as many positions at random?"
        found.append(compared(claim, measured.against("window", "random window")[aim], where))
    if reading(SPACES[0], 1.0) in measured.names:
        found.append(collapse({space: measured.against(reading(space, 1.0))[aim] for space in SPACES}, where))
    return found


def collapse(found: Mapping[str, Mapping[str, Any]], where: str) -> Finding:
    """Which readings of Eq. 9 hallucinate more than greedy decoding at beta 1, as the paper reports (+7 points)."""
    worse = [space for space, one in found.items() if one["interval"][0] > 0]
    told = "; ".join(
        f"{space} {number(AIM, one['difference'], sign=True)} {interval(AIM, one['interval'], sign=True)}"
        for space, one in found.items()
    )
    absent = all(one["interval"][1] <= 0 for one in found.values())
    said = HOLDS if worse else FAILS if absent else CANNOT_TELL
    lead = f"is seen in the reading {' and '.join(worse)}" if worse else "is not seen in any reading"
    return Finding(said, f"The collapse at beta 1.0 {lead}: CHAIR_i against greedy {told} ({where}).")


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
        rate = measured.rejected(name)
        rows.append((*cells, Cell("–" if rate != rate else f"{rate:.3f}")))
    note = (
        f"n = {n} pictures. Percentages; length in words. Below each, the difference to greedy decoding with its 95 % "
        "interval, paired over pictures, with no correction for looking at many."
    )
    return Table(title, ("decoding", *(f.shown for f in SHOWN), "refused per token"), tuple(rows), note)


def _rows(measured: Measured, how: str, n: int) -> list[dict[str, Any]]:
    return [
        {"candidates": how, "n": n, "decoding": name, "system": measured.label(name), "figure": figure.name}
        | {"value": measured.figures(name)[figure.name], "refused_per_token": measured.rejected(name)}
        | {"difference": one["difference"], "low": one["interval"][0], "high": one["interval"][1]}
        for name in measured.names
        for figure in SHOWN
        for one in [measured.against(name)[figure.name]]
    ]
