"""The tables of `behaviour`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies.behaviour.diversity import MEASURES
from lvlm_saliency.studies.behaviour.first_draws import CORRECT, HALLUCINATED, OTHER, Draws
from lvlm_saliency.studies.behaviour.phrases import bounds, percent, signed
from lvlm_saliency.studies.page import Cell, Table

if TYPE_CHECKING:
    from lvlm_saliency.studies.behaviour.study import Found

_KINDS = ("candidates", "first draw", "drawn", "refused", "rate", "written by the fallback")


def kinds_table(found: Found, resamples: int, seed: int) -> Table:
    lines = []
    for name, draws in found.draws.items():
        resampler = draws.resampler(resamples, seed)
        first = {kind: (draws.kind == kind) & ~draws.again for kind in (HALLUCINATED, CORRECT)}
        kinds = [(f"{kind}, first mention", rows) for kind, rows in first.items()]
        kinds += [(f"{kind}, named before", (draws.kind == kind) & draws.again) for kind in first]
        other = draws.kind == OTHER
        kinds += [(OTHER, other), (f"{OTHER}, the model's most probable", other & draws.likeliest)]
        for kind, rows in kinds:
            rate, kept = (resampler.estimate(stats.mean(hit, rows)) for hit in (draws.refused, draws.kept))
            counts = (f"{int(rows.sum()):,}", f"{int((draws.refused & rows).sum()):,}")
            shares = (Cell(percent(one.value), bounds(one)) for one in (rate, kept))
            lines.append((Cell(name), Cell(kind), *map(Cell, counts), *shares))
    note = (
        "A refused correct object word is a false rejection by the ground truth; of other words, one that is the "
        "model's most probable is what greedy decoding would have written there. Written by the fallback: "
        "refused, like every other draw, and written in the end because its saliency is the largest."
    )
    return Table("First draws by what they name", _KINDS, tuple(lines), note)


def counts_table(found: Found, resamples: int, seed: int) -> Table:
    """How many draws a step takes; the last column is the fallback."""
    most = found.max_draws
    lines = []
    for name, draws in found.draws.items():
        resampler = draws.resampler(resamples, seed)
        shares = [stats.mean((draws.count == count) & ~draws.fallback) for count in range(most)]
        found_shares = [resampler.estimate(share) for share in (*shares, stats.mean(draws.fallback))]
        mean = resampler.estimate(stats.mean(draws.count + ~draws.fallback))
        cells = [Cell(percent(one.value), bounds(one)) for one in found_shares]
        drawn = Cell(f"{mean.value:.2f}", f"[{mean.low:.2f}, {mean.high:.2f}]")
        lines.append((Cell(name), Cell(f"{len(draws):,}"), drawn, *cells, Cell(str(longest(draws)))))
    head = ("candidates", "steps", "draws/step", *(f"accepted at draw {at + 1}" for at in range(most)), "fallback")
    note = (
        "Steps at which there was a threshold to reach, so from the third token on. A fallback can come before all "
        "draws are used up, when top-p leaves fewer candidates. Longest: most steps in a row, in one text, whose first "
        "draw was refused."
    )
    return Table("Draws per step", (*head, "longest"), tuple(lines), note)


def longest(draws: Draws) -> int:
    """The longest run of steps of one text whose first draw was refused."""
    best = run = 0
    last: tuple[int, int] | None = None
    for text, position, refused in zip(draws.text, draws.position, draws.refused, strict=True):
        follows = last == (int(text), int(position) - 1)
        run = (run if follows else 0) + 1 if refused else 0
        best, last = max(best, run), (int(text), int(position))
    return best


def texts_table(found: Found, resamples: int, seed: int) -> Table:
    lines = []
    for name, values in found.texts.items():
        cells = []
        for measure in MEASURES:
            scale, note = 1 if measure == "words" else 100, ""
            if name not in ("sample", "greedy"):
                change = paired(found, name, "sample", measure, resamples, seed)
                note = signed(change, scale)
            cells.append(Cell(f"{scale * float(np.nanmean(values[measure])):.1f}", note))
        lines.append((Cell(name), *cells))
    count = len(next(iter(found.texts.values()))["words"])
    note = (
        f"n = {count} pictures; means over texts; percentages, but words are counted. Below: difference to sampling "
        "with its 95 % interval, paired over pictures. distinct-n: different n-grams over all; repeated: stood in the "
        "text before; own: in no other text of the same way of decoding."
    )
    return Table("Repetition and diversity", ("decoding", *MEASURES), tuple(lines), note)


def paired(found: Found, one: str, other: str, measure: str, resamples: int, seed: int) -> stats.Estimate:
    """One minus the other, over the pictures where both have the measure."""
    mine, theirs = found.texts[one][measure], found.texts[other][measure]
    rows = np.isfinite(mine) & np.isfinite(theirs)
    resampler = stats.Resampler(np.flatnonzero(rows), resamples, seed)
    return resampler.estimate(stats.mean(mine[rows] - theirs[rows]))
