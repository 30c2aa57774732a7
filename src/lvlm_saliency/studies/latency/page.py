"""The page of `latency`: what the paper claims about cost, a figure of all methods, and the table behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lvlm_saliency.studies.figures import BLUE, GREY, ORANGE, panels
from lvlm_saliency.studies.latency.study import LOOP, NOISE
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS, Cell, Finding, Page, Part, Picture, Table

if TYPE_CHECKING:
    from lvlm_saliency.studies.latency.study import Row
    from lvlm_saliency.studies.latency.timing import Paired

PAPER = (
    "LocoRE costs less than 2 % over greedy decoding, SGRS 30 to 40 %; raising alpha from 0.6 to 0.9 costs SGRS a "
    "third more (30.8 to 41.2 ms per token)."
)
LOCORE, SGRS, STRICTER = 1.02, 1.40, 41.2 / 30.8
TOLD = {"locore": (LOCORE, LOCORE), "sgrs": (1.30, SGRS)}


def page(
    rows: Sequence[Row],
    strict: Paired | None,
    left_out: Mapping[str, str],
    setup: Mapping[str, str],
    *,
    cuda: bool,
) -> Page:
    """The whole result.

    Args:
        strict: SGRS at alpha 0.9 against SGRS at 0.6.
        left_out: reasons by label.
    """
    text = (
        "Every time is a pair: plain model.generate and the method in turn, one picture, one text, exactly as many new "
        "tokens from both. Methods that draw are compared with sampled generation, the others with greedy. "
        "“generate, again” is plain generation against itself: what the machine's noise alone looks like. “no method” "
        "is this package's loop with nothing in it. The smaller the model, the more a method's fixed work per token "
        "weighs: what is a tenth here may be nothing on a model of billions of weights."
    )
    caption = (
        "Time against plain model.generate, log scale: median of the paired ratios with its 95 % interval (thick) and "
        "the range of all pairs (thin). Diamonds: what the paper reports."
    )
    tables = [_table(rows, cuda)]
    if left_out:
        lines = tuple((Cell(label), Cell(reason)) for label, reason in left_out.items())
        tables.append(Table("Not timed", ("method", "why"), lines))
    records = [row.record() for row in rows]
    pairs = [
        {"method": row.label, "against": row.against, "pair": number, "baseline_s": base, "method_s": own}
        for row in rows
        for number, (base, own) in enumerate(zip(row.timed.baseline, row.timed.own, strict=True))
    ]
    return Page(
        title="What every method costs",
        paper=PAPER,
        findings=findings(rows, strict),
        parts=[Part("Paired times", text, tables, [Picture("latency", caption, _drawn(rows))])],
        setup=setup,
        data={"latency": records, "pairs": pairs},
    )


def findings(rows: Sequence[Row], strict: Paired | None) -> list[Finding]:
    """The paper's three claims, as far as their methods were timed."""
    known = {row.label: row for row in rows}
    noise = known[NOISE].timed
    found = []
    if "locore" in known:
        claim = "LocoRE costs less than 2 %"
        found.append(_below(claim, known["locore"].timed, LOCORE, f"; plain generation against itself {_shown(noise)}"))
    if "sgrs" in known:
        *_, refused = known["sgrs"].passes
        note = "" if refused is None else f"; it refused {refused:.2f} draws per token"
        found.append(_below("SGRS at alpha 0.6 costs at most 40 %", known["sgrs"].timed, SGRS, note))
    if strict is not None:
        low, high = strict.interval
        verdict = CANNOT_TELL if math.isnan(low) else HOLDS if low > 1 else FAILS if high < STRICTER else CANNOT_TELL
        text = f"SGRS takes longer at alpha 0.9 than at 0.6: {_shown(strict)} (the paper: {percent(STRICTER)})."
        found.append(Finding(verdict, text))
    return found


def _below(claim: str, timed: Paired, limit: float, note: str) -> Finding:
    """HOLDS where the whole interval lies below the limit, FAILS where it lies above."""
    low, high = timed.interval
    verdict = CANNOT_TELL if math.isnan(low) else HOLDS if high < limit else FAILS if low > limit else CANNOT_TELL
    return Finding(verdict, f"{claim} over plain generation of the same length: {_shown(timed)}{note}.")


def percent(ratio: float, beside: float | None = None) -> str:
    """A ratio as the percentage that it adds; one of 2 or more is written as a factor. The end of an interval is
    written like the figure `beside` it."""
    if math.isnan(ratio):
        return "–"
    if (ratio if beside is None else beside) >= 2:
        return f"×{ratio:.1f}"
    added = round(100 * (ratio - 1))
    return f"{added:+d} %".replace("-", "−") if added else "0 %"


def _shown(timed: Paired) -> str:
    low, high = timed.interval
    pairs = len(timed.own)
    if math.isnan(low):
        return f"{percent(timed.median)} (n = {pairs} pairs, too few for an interval)"
    return f"{percent(timed.median)} [{percent(low, timed.median)}, {percent(high, timed.median)}] (n = {pairs} pairs)"


def _table(rows: Sequence[Row], cuda: bool) -> Table:
    lines = []
    for row in rows:
        one = row.record()
        ends = (percent(one[end], one["ratio"]) for end in ("low", "high"))
        interval = "" if math.isnan(one["low"]) else f"[{', '.join(ends)}]"
        cells = [
            Cell(row.label),
            Cell({"sample": "sampled"}.get(row.against, row.against)),
            Cell(percent(one["ratio"]), interval),
            Cell(f"{percent(one['least'])} to {percent(one['most'])}"),
            Cell(str(one["pairs"])),
            Cell(f"{one['ms_per_token']:.2f}"),
            *(Cell(_rate(one[name])) for name in ("forwards_per_token", "backwards_per_token")),
            Cell(str(one["rows"])),
            Cell(_rate(one["refused_per_token"])),
        ]
        lines.append((*cells, *([Cell(_memory(row.peak))] if cuda else [])))
    memory = ("peak memory",) if cuda else ()
    head = (
        "method",
        "against",
        "takes",
        "range",
        "pairs",
        "ms/token",
        "fwd/token",
        "bwd/token",
        "rows",
        "refused/token",
    )
    note = (
        "takes: what the method adds, or from twice the time on the factor; median over pairs, with its exact 95 % "
        "interval where there are at least six. fwd, bwd: forward and backward passes per new token, the prompt's own "
        "included; rows: beams or candidates in a pass. SGRS's cost follows how often it refuses, which differs from "
        "text to text."
    )
    return Table("Method by method", (*head, *memory), tuple(lines), note)


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _memory(peak: int | None) -> str:
    return "–" if peak is None else f"{peak / 2**20:,.0f} MiB"


def _drawn(rows: Sequence[Row]) -> Any:
    ordered = sorted(rows, key=lambda row: row.timed.median, reverse=True)
    figure, (axes,) = panels(height=0.9 + 0.27 * len(ordered))
    for place, row in enumerate(ordered):
        ratios, (low, high) = row.timed.ratios, row.timed.interval
        colour = GREY if row.label in (NOISE, LOOP) else BLUE
        axes.plot([ratios.min(), ratios.max()], [place, place], color=colour, linewidth=1)
        if not math.isnan(low):
            axes.plot([low, high], [place, place], color=colour, linewidth=3.2)
        axes.plot(row.timed.median, place, "o", color=colour, markersize=5)
        for value in TOLD.get(row.label, ()):
            axes.plot(value, place, "D", color=ORANGE, markersize=5, markerfacecolor="none")
    axes.axvline(1, color=GREY, linewidth=1, linestyle="--")
    axes.set_xscale("log")
    smallest = min(row.timed.ratios.min() for row in rows)
    largest = max(row.timed.ratios.max() for row in rows)
    ticks = [
        value for value in (0.5, 0.7, 1, 1.4, 2, 3, 5, 10, 20, 50, 100) if smallest * 0.7 <= value <= largest * 1.4
    ]
    axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
    axes.xaxis.set_minor_locator(_no_ticks())
    axes.set_yticks(range(len(ordered)), [row.label for row in ordered])
    axes.set_xlabel("time against plain model.generate (times)")
    return figure


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()
