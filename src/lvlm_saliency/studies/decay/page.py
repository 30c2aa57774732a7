"""The page of `decay`: verdicts, tables and figures."""

from __future__ import annotations

import math
from typing import Any

from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies import figures
from lvlm_saliency.studies.decay.arms import Arm
from lvlm_saliency.studies.decay.effects import FIGURES, PAPER, Effects, matched, taken
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Cell, Finding, Page, Part, Picture, Table
from lvlm_saliency.studies.verdicts import directional

CLAIM = (
    "scaling the saliency of confident correct tokens by r makes the text that follows hallucinate: CHAIR_s "
    f"{', '.join(f'{100 * share:.1f}' for share in PAPER.values())} for r = "
    f"{', '.join(f'{r:g}'.removeprefix('0') for r in PAPER)} (LLaVA-1.5), and POPE F1 falls from 87.0 to 83.0. How the "
    "saliency was scaled is left open."
)
QUARTER = (PAPER[0.2] - PAPER[1.0]) / 4
"""A rise below a quarter of the paper's counts as none."""


def page(effects: Effects, study: Any, setup: dict[str, str]) -> Page:
    """All results."""
    where = "all layers" if study.layers is None else f"layers {', '.join(map(str, study.layers))}"
    how = (
        "Saliency is attention times gradient, and a factor on attention is a factor on saliency, so r is "
        "applied to the attention. Greedy decoding; from the moment an object word stands whole in the "
        "text, is known to be in the picture, and its first token had a probability of at least "
        f"{study.confidence:g}, every later token's attention to it is multiplied by r before the row is renormalised "
        f"(log r is added to its score before the softmax), in {where}. Ground truth labels the words while they are "
        "written. r = 1 is greedy decoding, bit for bit.\n\n"
        "The control takes attention elsewhere. For each word that would be weakened it draws "
        f"{study.partners} other output tokens that name no object, at random, and lowers the attention to them by one "
        "factor per layer and step, so that the amount taken, summed over heads, is what r would have taken from the "
        "confident correct words of the same text. Early in a text there may be less to take; the table says how "
        "much was taken. The other tokens name no object, so the comparison is with the rest of the text, not with "
        "wrong or doubtful names, of which a text has too few.\n\n"
        "POPE: a yes-or-no answer is one token, and no output stands before it, so this experiment has nothing to "
        "weaken there and leaves every answer as it is. The paper's fall of POPE F1 cannot come from it."
    )
    drawing = Picture(
        "decay",
        f"{len(effects.base.rows)} pictures, 95 % intervals over pictures. Blue: r on confident correct words. Orange: "
        "as much attention taken from other output tokens. Grey: the paper, LLaVA-1.5.",
        _drawn(effects),
    )
    dose = Picture(
        "dose",
        "Change of CHAIR_s and CHAIR_i against r = 1 by the share of attention that was taken (mean over heads, layers "
        "and steps); paired 95 % intervals.",
        _dose(effects),
    )
    parts = [
        Part("What happens to the text", "", [_levels(effects)], [drawing]),
        Part("Against r = 1, picture by picture", "", [_differences(effects)], [dose]),
        Part("What was done", how),
    ]
    texts = [
        {"factor": arm.strength.factor, "elsewhere": arm.strength.elsewhere, "image": row["image"], "text": row["text"]}
        for arm in effects.arms
        for row in arm.rows.values()
    ]
    return Page(
        "Does weaker attention to earlier words cause hallucination?",
        CLAIM,
        findings(effects),
        parts,
        {**setup, "confidence": f"{study.confidence:g}", "layers": where},
        data={"arms": effects.rows(), "texts": texts},
    )


def findings(effects: Effects) -> list[Finding]:
    """Three claims, each judged by an interval over pictures."""
    last = effects.treated[-1]
    return [_rises(effects, last), _beyond_length(effects, last), _more_than_elsewhere(effects)]


def _rises(effects: Effects, last: Arm) -> Finding:
    trend = effects.trend("CHAIR_s")
    verdict = directional(trend, 0.0, QUARTER)
    start, end = (effects.level(arm, "CHAIR_s").value for arm in (effects.base, last))
    told = (
        f"CHAIR_s {start:.1%} at r = 1 and {end:.1%} at r = {last.strength.factor:g}; fitted rise from r = 1 to 0.2 "
        f"{points(trend)} (the paper: {100 * (PAPER[0.2] - PAPER[1.0]):+.1f} points); CHAIR_i "
        f"{points(effects.trend('CHAIR_i'))}, recall {points(effects.trend('recall'))}."
    )
    return _begun(
        verdict,
        "Hallucination rises as attention to confident correct words is lowered: ",
        "Hallucination does not rise as attention to confident correct words is lowered: ",
        "Whether hallucination rises as attention to confident correct words is lowered stays open: ",
        told,
    )


def _beyond_length(effects: Effects, last: Arm) -> Finding:
    equal = effects.at_equal_length(last, "CHAIR_s")
    verdict = directional(equal, 0.0, QUARTER)
    length = effects.difference(last, "length")
    told = (
        f"at r = {last.strength.factor:g} texts differ by {length.value:+.1f} words [{length.low:+.1f}, "
        f"{length.high:+.1f}] from those of r = 1; with both cut to the shorter of the two, CHAIR_s differs by "
        f"{points(equal)}."
    )
    return _begun(
        verdict,
        "It is not a matter of length alone: ",
        "At equal length nothing that matters is left of a rise: ",
        "Whether it is more than a matter of length stays open: ",
        told,
    )


def _more_than_elsewhere(effects: Effects) -> Finding:
    there, elsewhere, more = effects.per_attention("CHAIR_s")
    *_, equal = effects.per_attention("CHAIR_s", equal_length=True)
    # In points per hundredth of attention; the margin is a quarter of the paper's rise at the most that was taken.
    most = 100 * max(taken(arm) for arm in effects.treated)
    margin = QUARTER / most if most else 0.0
    found = [directional(one, 0.0, margin) for one in (more, equal)]
    verdict = next((one for one in (FAILS, CANNOT_TELL) if one in found), HOLDS)
    told = (
        f"for each hundredth of attention taken CHAIR_s changes by {points(there)} when it is taken from confident "
        f"correct words and by {points(elsewhere)} when it is taken from other output tokens (difference "
        f"{points(more)}; with texts cut to equal length {points(equal)})."
    )
    return _begun(
        verdict,
        "These words matter more than others do: ",
        "These words matter no more than others do: ",
        "Whether these words matter more than others do stays open: ",
        told,
    )


def _begun(verdict: str, holds: str, fails: str, cannot_tell: str, told: str) -> Finding:
    """What was measured, begun by what it means under this verdict."""
    return Finding(verdict, {HOLDS: holds, FAILS: fails, CANNOT_TELL: cannot_tell}[verdict] + told)


def points(found: Estimate) -> str:
    """A difference of shares in percentage points."""
    interval = "" if math.isnan(found.low) else f" [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return f"{100 * found.value:+.1f}{interval} points"


def named(arm: Arm) -> str:
    if arm.strength.factor == 1:
        return "r = 1 (greedy)"
    return f"r = {arm.strength.factor:g}{', elsewhere' if arm.strength.elsewhere else ''}"


def _levels(effects: Effects) -> Table:
    extras = list(effects.base.result.get("extra", {}))
    lines = []
    for arm in effects.arms:
        found = {figure: effects.level(arm, figure) for figure in FIGURES}
        acted = arm is not effects.base
        paper = "" if arm.strength.elsewhere else f"{PAPER.get(arm.strength.factor, math.nan):.1%}".replace("nan%", "")
        lines.append(
            (
                Cell(named(arm)),
                Cell(f"{taken(arm):.1%}" if acted else "–", f"{matched(arm):.0%} of the target" if acted else ""),
                Cell(f"{arm.changed(effects.base):.0%}" if acted else "–"),
                *(Cell(f"{f.value:.1%}", f"{f.low:.1%} to {f.high:.1%}") for f in list(found.values())[:3]),
                Cell(f"{found['length'].value:.1f}", f"{found['length'].low:.1f} to {found['length'].high:.1f}"),
                *(Cell(f"{arm.result['extra'][name]:.1%}") for name in extras),
                Cell(paper or "–"),
            )
        )
    head = (
        "arm",
        "attention taken",
        "texts changed",
        "CHAIR_s",
        "CHAIR_i",
        "recall",
        "words",
        *extras,
        "paper, CHAIR_s",
    )
    held = effects.base.total("held") / len(effects.base.rows)
    return Table(
        "The arms",
        head,
        tuple(lines),
        f"n = {len(effects.base.rows)} texts each; {held:.1f} tokens of confident correct words in a text of r = 1. "
        "attention taken: share of a row, mean over heads, layers and the steps with something to take.",
    )


def _differences(effects: Effects) -> Table:
    lines = []
    for arm in effects.arms[1:]:
        found = [(effects.difference(arm, figure), figure) for figure in FIGURES]
        found.append((effects.at_equal_length(arm, "CHAIR_s"), "CHAIR_s"))
        paper = PAPER.get(arm.strength.factor, math.nan) - PAPER[1.0]
        shown = "–" if arm.strength.elsewhere or math.isnan(paper) else f"{100 * paper:+.1f}"
        lines.append((Cell(named(arm)), *(_signed(one, figure) for one, figure in found), Cell(shown)))
    return Table(
        "Difference to r = 1",
        ("arm", *(f"{figure}" for figure in FIGURES), "CHAIR_s at equal length", "paper, CHAIR_s"),
        tuple(lines),
        f"Percentage points (length: words), paired over {len(effects.base.rows)} pictures. At equal length: both "
        "texts of a picture are cut to the shorter one's number of words. ✓ better and ✗ worse than r = 1: the "
        "interval leaves 0 out; no correction for looking at many.",
    )


def _signed(found: Estimate, figure: str) -> Cell:
    scale, better = (1, 0) if figure == "length" else (100, 1 if figure == "recall" else -1)
    tone = ""
    if found.excludes(0):
        tone = "changed" if not better else "better" if better * found.value > 0 else "worse"
    return Cell(f"{scale * found.value:+.1f}", f"{scale * found.low:+.1f} to {scale * found.high:+.1f}", tone)


def _drawn(effects: Effects) -> Any:
    figure, axes = figures.panels(2, 2, width=8.6, height=5.6, sharex=True)
    names = {"CHAIR_s": "CHAIR_s", "CHAIR_i": "CHAIR_i", "recall": "recall", "length": "words per text"}
    for panel, (name, label) in zip(axes, names.items(), strict=True):
        kinds = (
            (effects.treated, figures.BLUE, "o", "confident correct words"),
            (effects.control, figures.ORANGE, "s", "elsewhere"),
        )
        for arms, colour, marker, legend in kinds:
            shown = [effects.base, *arms]
            found = [effects.level(arm, name) for arm in shown]
            figures.with_bars(panel, [arm.strength.factor for arm in shown], found, colour, marker, label=legend)
        if name == "CHAIR_s":
            panel.plot(list(PAPER), list(PAPER.values()), "--^", color=figures.GREY, markersize=4, label="the paper")
        panel.set_ylabel(label, fontsize=9)
        panel.set_ylim(bottom=0)
    axes[0].invert_xaxis()
    for panel in axes[2:]:
        panel.set_xlabel("r, what is left of the attention", fontsize=9)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def _dose(effects: Effects) -> Any:
    figure, axes = figures.panels(2, width=8.6, height=3.1)
    for panel, name in zip(axes, ("CHAIR_s", "CHAIR_i"), strict=True):
        kinds = (
            (effects.treated, figures.BLUE, "o", "from confident correct words"),
            (effects.control, figures.ORANGE, "s", "from other output tokens"),
        )
        for arms, colour, marker, legend in kinds:
            doses = [100 * taken(arm) for arm in arms]
            found = [effects.difference(arm, name) for arm in arms]
            scaled = [Estimate(100 * f.value, 100 * f.low, 100 * f.high, f.n) for f in found]
            figures.with_bars(panel, doses, scaled, colour, marker, label=legend)
        panel.axhline(0, color=figures.GREY, linewidth=1, linestyle="--")
        panel.set_xlim(left=0)
        panel.set_xlabel("attention taken (%)", fontsize=9)
        panel.set_ylabel(f"change of {name} (points)", fontsize=9)
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    return figure
