"""The page of `tune`: verdicts, what was chosen, what it does on held-out pictures, how the search went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED
from lvlm_saliency.pages.figures import number, verdict
from lvlm_saliency.studies.page import Cell, Page, Part, Picture, Table
from lvlm_saliency.studies.tune.figures import draw_effect, draw_search
from lvlm_saliency.studies.tune.findings import findings, signed
from lvlm_saliency.studies.tune.search import BASELINES

if TYPE_CHECKING:
    from lvlm_saliency.studies.tune.search import Search
    from lvlm_saliency.studies.tune.study import Effect, Tune

PAPER = (
    "The authors chose their settings by hand: alpha 0.6 and beta 0.15 for LLaVA-1.5 (both together: CHAIR_s from 48.0 "
    "to 35.6, CHAIR_i from 13.9 to 8.2), alpha 0.6 and beta 0.20 for Qwen2-VL (25.0 to 19.3, 7.3 to 5.1)."
)
SHOWN = ("CHAIR_i", "CHAIR_s", "recall", "f1", "length")


def page(study: Tune, found: Search, effect: Effect, setup: Mapping[str, str]) -> Page:
    """The whole result."""
    return Page(
        title=f"Tuning {study.methods}",
        paper=PAPER,
        findings=findings(found, effect),
        parts=[_chosen(study, found), _held_out(found, effect), _search(found)],
        setup=dict(setup)
        | {
            "search": f"{len(found.candidates)} settings, {found.captions} captions on {effect.dev_pictures} dev "
            f"pictures, {found.seconds:.0f} s of writing",
            "judgement": f"{effect.pictures} held-out pictures, {effect.seconds:.0f} s of writing",
        },
        data={"settings": _trail(found), "effect": _effect_rows(found, effect)},
    )


def _chosen(study: Tune, found: Search) -> Part:
    goal = found.objective
    name = FIGURES[goal.figure].shown
    choice = found.best.label if found.beats_greedy else f"greedy decoding (next best: {found.best.label})"
    return Part(
        "What was chosen",
        f"{choice}. The preset is preset.yaml beside this page, and --method takes it as it stands: lvlm-saliency "
        f"generate --method preset.yaml. Chosen for {'low' if goal.sign > 0 else 'high'} {name} among settings whose "
        f"recall stays within {100 * goal.recall_margin:g} points of greedy decoding's, whose captions are no more "
        f"than {goal.length_margin:.0%} shorter or longer, and no more than {100 * goal.form_margin:g} points less "
        "often well-formed where that can be told: without these margins, silence would win. Greedy decoding itself is "
        "always a candidate.",
    )


def _held_out(found: Search, effect: Effect) -> Part:
    best, usual = found.best.label, effect.usual.label
    labels = list(dict.fromkeys([GREEDY, SAMPLED, usual, best]))
    figures = [FIGURES[name] for name in SHOWN]
    formed = not math.isnan(effect.measured[GREEDY].formed)
    chosen = "chosen" if found.beats_greedy else "best tried"
    rows = []
    for label in labels:
        values, other = effect.measured[label].figures, effect.held.get(label)
        name = {usual: "to start from", best: chosen}.get(label, label)
        cells = [Cell(name)]
        for figure in figures:
            note = "" if other is None else f"{signed(figure, other[figure.name])}"
            tone = "" if other is None else verdict(figure, other[figure.name])
            cells.append(Cell(number(figure, values[figure.name]), note, tone))
        rows.append((*cells, *([Cell(f"{100 * values['well-formed']:.1f}")] if formed else [])))
    head = ("decoding", *(f"{f.shown}{_arrow(f)}" for f in figures), *(["well-formed"] if formed else []))
    note = (
        f"n = {effect.pictures} pictures. To start from: {usual}; {chosen}: {best}. Percentages; length in words. "
        "Below each, the difference to greedy decoding with its 95 % interval, paired over pictures; coloured where "
        "it leaves 0 out, with no correction for looking at many. F1: of 1 − CHAIR_i and recall."
    )
    caption = (
        f"Difference to greedy decoding in {FIGURES[found.objective.figure].shown}, with 95 % intervals: the chosen "
        f"setting on the pictures it was chosen on (n = {effect.dev_pictures}), an optimistic figure, and on "
        f"held-out ones (n = {effect.pictures}), beside the setting to start from."
    )
    return Part(
        "On held-out pictures",
        "",
        tables=[Table("Held-out pictures", head, tuple(rows), note)],
        pictures=[Picture("effect", caption, draw_effect(found, effect))],
    )


def _search(found: Search) -> Part:
    goal = found.objective
    figure = FIGURES[goal.figure]
    rows, last = [], found.rungs[-1]
    for rung in found.rungs:
        there = [one for one in found.trail if one.rung == rung]
        inside = sum(not one.oversteps for one in there)
        values = [one.figures[goal.figure] for one in there if not one.oversteps]
        best = goal.sign * min((goal.sign * value for value in values), default=math.nan)
        fresh = (rung.settings + len(BASELINES)) * rung.pictures
        rows.append(
            tuple(
                map(
                    Cell,
                    (
                        str(rung.number + 1),
                        str(rung.settings),
                        str(rung.seen),
                        str(inside),
                        number(figure, best),
                        str(fresh),
                    ),
                )
            )
        )
    head = ("rung", "settings", "pictures so far", "inside the margins", f"best {figure.shown}", "captions written")
    end = sorted((one for one in found.trail if one.rung == last), key=lambda one: found_rank(found, one.label))
    final = [
        (
            Cell(one.label),
            *(Cell(number(FIGURES[name], one.figures[name])) for name in SHOWN),
            Cell(_beyond(one.oversteps)),
        )
        for one in end
    ]
    greedy = found.measured(GREEDY).figures
    final.append((Cell(GREEDY), *(Cell(number(FIGURES[name], greedy[name])) for name in SHOWN), Cell("")))
    caption = (
        f"{figure.shown} of every setting minus that of greedy decoding on the same pictures, after each rung. Blue: "
        "still in; grey: stopped; orange: the best; crosses: outside the margins, and so behind all that are inside."
    )
    return Part(
        "How the search went",
        "Successive halving (Jamieson and Talwalkar, 2016): each rung judges fewer settings, on more pictures; each "
        "brings fresh pictures of the dev half and keeps what is known from the ones before. All settings are judged "
        "on the same pictures. None of them is in the held-out half.",
        tables=[
            Table("Rungs", head, tuple(rows)),
            Table(
                f"The last rung, n = {last.seen} dev pictures",
                ("setting", *(FIGURES[name].shown for name in SHOWN), "outside the margins by"),
                tuple(final),
                "Figures of pictures that were chosen on: optimistic for the first.",
            ),
        ],
        pictures=[Picture("search", caption, draw_search(found))],
    )


def found_rank(found: Search, label: str) -> int:
    """Place of a candidate of the last rung."""
    return [one.label for one in found.ranking].index(label)


def _arrow(figure: Any) -> str:
    return {"lower": " ↓", "higher": " ↑", "": ""}[figure.better]


def _beyond(oversteps: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * value:.1f}" for name, value in oversteps.items()) or "inside"


def _trail(found: Search) -> list[dict[str, Any]]:
    return [
        {
            "rung": one.rung.number + 1,
            "pictures": one.rung.seen,
            "setting": one.label,
            "kept": one.kept,
            **one.figures,
            "outside": sum(one.oversteps.values()),
        }
        for one in found.trail
    ]


def _effect_rows(found: Search, effect: Effect) -> list[dict[str, Any]]:
    """One row per figure, setting and set of pictures."""
    sets = [("dev", found.best.label, effect.dev_pictures, effect.dev)]
    sets += [("held-out", label, effect.pictures, one) for label, one in effect.held.items()]
    sets += [("held-out, same length", label, effect.pictures, one) for label, one in effect.matched.items()]
    return [
        {
            "pictures": where,
            "n": n,
            "setting": label,
            "figure": name,
            "difference": d["difference"],
            "low": d["interval"][0],
            "high": d["interval"][1],
        }
        for where, label, n, differences in sets
        for name, d in differences.items()
    ]
