"""What a tuning run may conclude, each conclusion decided by intervals over held-out pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.pages.figures import Figure, interval, number, too_few
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Finding

if TYPE_CHECKING:
    from lvlm_saliency.studies.tune.search import Search
    from lvlm_saliency.studies.tune.study import Effect


def findings(found: Search, effect: Effect) -> list[Finding]:
    """Is it better, at what price, better than untuned, and how much smaller is the effect on held-out pictures?"""
    return [_better(found, effect), _price(found, effect), _tuned(found, effect), _promised(found, effect)]


def signed(figure: Figure, one: Mapping[str, Any]) -> str:
    """`−0.8 [−1.5, −0.1]`, in points."""
    return f"{number(figure, one['difference'], sign=True)} {interval(figure, one['interval'], sign=True)}".strip()


def judged(one: Mapping[str, Any], sign: int) -> str:
    """HOLDS where the whole interval lies on the good side of 0 (below it for sign 1), FAILS on the bad side; else, or
    with too few pictures, CANNOT_TELL."""
    if too_few(one):
        return CANNOT_TELL
    low, high = sorted(sign * bound for bound in one["interval"])
    return HOLDS if high < 0 else FAILS if low > 0 else CANNOT_TELL


def _better(found: Search, effect: Effect) -> Finding:
    goal, best = found.objective, found.best.label
    figure, held = FIGURES[goal.figure], effect.held[found.best.label]
    here = number(figure, effect.measured[GREEDY].figures[goal.figure])
    measured = (
        f"{signed(figure, held[goal.figure])} points against greedy decoding's {here}, on "
        f"{effect.pictures} pictures that took no part in choosing"
    )
    if not found.beats_greedy:
        seen, greedy = found.measured(best), found.measured(GREEDY)
        beyond = goal.oversteps(seen, greedy)
        why = (
            f"the best of them still oversteps the margin of {_listed(beyond)}"
            if beyond
            else f"{figure.shown} is {number(figure, greedy.figures[goal.figure])} under greedy decoding and "
            f"{number(figure, seen.figures[goal.figure])} under the best of them"
        )
        return Finding(
            CANNOT_TELL if too_few(held[goal.figure]) else FAILS,
            f"None of the {len(found.candidates)} settings that were tried beats plain greedy decoding: on the "
            f"{effect.dev_pictures} pictures chosen on, {why}. The preset is greedy decoding. For the record, {best}: "
            f"{figure.shown} {measured}.",
        )
    verdict = judged(held[goal.figure], goal.sign)
    word = {1: "lowers", -1: "raises"}[goal.sign]
    claims = {
        HOLDS: f"The chosen setting, {best}, {word} {figure.shown}: {measured}.",
        FAILS: f"The chosen setting, {best}, does not {word[:-1]} {figure.shown} but makes it worse: {measured}.",
        CANNOT_TELL: f"Whether the chosen setting, {best}, {word} {figure.shown} is not shown: {measured}. So many "
        f"pictures can show a difference of about {_power(figure, held[goal.figure])} points, not a smaller one.",
    }
    return Finding(verdict, claims[verdict] + (_at_length(found, effect) if verdict == HOLDS else ""))


def _at_length(found: Search, effect: Effect) -> str:
    """What is left against greedy captions cut to the same length, where that control has the objective's figure."""
    figure = FIGURES[found.objective.figure]
    one = effect.matched[found.best.label].get(figure.name)
    if one is None:
        return ""
    explained = {
        HOLDS: "so length does not explain all of it",
        CANNOT_TELL: "so length may explain all of it",
        FAILS: "so it is worse at the same length",
    }
    return (
        f" Against greedy captions cut to the same length: {signed(figure, one)}, "
        f"{explained[judged(one, found.objective.sign)]}."
    )


def _price(found: Search, effect: Effect) -> Finding:
    """Whether recall and length keep their margins on the held-out pictures, where nothing was chosen."""
    goal, best = found.objective, found.best.label
    held, greedy = effect.held[best], effect.measured[GREEDY].figures
    recall, length = held["recall"], held["length"]
    words = greedy["length"]
    low, high = (bound / words if words else math.nan for bound in length["interval"])
    kept = recall["interval"][0] >= -goal.recall_margin and max(-low, high) <= goal.length_margin
    broken = recall["interval"][1] < -goal.recall_margin or low > goal.length_margin or high < -goal.length_margin
    formed = effect.measured[best].figures["well-formed"]
    shape = "" if math.isnan(formed) else f", {formed:.1%} of the captions well-formed ({greedy['well-formed']:.1%})"
    lost = goal.form_margin < greedy["well-formed"] - formed  # False where the benchmark cannot tell
    verdict = FAILS if broken or lost else HOLDS if kept else CANNOT_TELL
    verdict = CANNOT_TELL if too_few(recall) else verdict
    which = "It" if found.beats_greedy else "The best of them"
    claim = {
        HOLDS: "keeps to the margins on the held-out pictures as well",
        FAILS: "does not keep to the margins on the held-out pictures",
        CANNOT_TELL: "may or may not keep to the margins on the held-out pictures",
    }
    return Finding(
        verdict,
        f"{which} {claim[verdict]} (recall −{100 * goal.recall_margin:g} points, length ±{goal.length_margin:.0%}): "
        f"recall {signed(FIGURES['recall'], recall)} points, length {signed(FIGURES['length'], length)} words of "
        f"{words:.1f}{shape}.",
    )


def _tuned(found: Search, effect: Effect) -> Finding:
    goal, usual = found.objective, effect.usual.label
    figure = FIGURES[goal.figure]
    if not effect.over_usual:
        return Finding(FAILS, f"Tuning finds nothing better than the setting to start from: {usual} itself came first.")
    one = effect.over_usual[goal.figure]
    verdict = judged(one, goal.sign)
    words = {HOLDS: "is better than", FAILS: "is worse than", CANNOT_TELL: "is not shown to be better than"}
    return Finding(
        verdict,
        f"What was found by tuning {words[verdict]} the setting to start from, {usual}: {figure.shown} "
        f"{signed(figure, one)} points on the held-out pictures.",
    )


def _promised(found: Search, effect: Effect) -> Finding:
    """The winner's curse. Both estimates come from different pictures, so their half-widths add in quadrature."""
    goal, best = found.objective, found.best.label
    figure = FIGURES[goal.figure]
    dev, held = effect.dev[goal.figure], effect.held[best][goal.figure]
    gap = goal.sign * (held["difference"] - dev["difference"])
    width = math.hypot(*((one["interval"][1] - one["interval"][0]) / 2 for one in (dev, held)))
    verdict = HOLDS if gap - width > 0 else FAILS if gap + width < 0 else CANNOT_TELL
    verdict = CANNOT_TELL if too_few(dev) or too_few(held) else verdict
    claim = {
        HOLDS: "The effect is larger on the pictures that the setting was chosen on, by more than chance explains",
        FAILS: "The effect is larger on held-out pictures than on those that the setting was chosen on",
        CANNOT_TELL: "Whether the effect is larger on the pictures that the setting was chosen on is not shown",
    }
    return Finding(
        verdict,
        f"{claim[verdict]}: {figure.shown} {signed(figure, dev)} points against greedy decoding on those "
        f"{effect.dev_pictures}, {signed(figure, held)} on the {effect.pictures} held-out ones, a gap of "
        f"{number(figure, goal.sign * gap, sign=True)} ± {number(figure, width)}. The second figure is the one to "
        "believe.",
    )


def _power(figure: Figure, one: Mapping[str, Any]) -> str:
    low, high = one["interval"]
    return number(figure, (high - low) / 2)


def _listed(beyond: Mapping[str, float]) -> str:
    return " and ".join(f"{name} (by {100 * value:.1f} points)" for name, value in beyond.items())
