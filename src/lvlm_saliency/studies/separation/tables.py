"""The tables of `separation`, and the text that explains them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lvlm_saliency.studies.cells import area, estimate, plain, share, signed
from lvlm_saliency.studies.nested import FOLDS
from lvlm_saliency.studies.page import Cell, Table
from lvlm_saliency.studies.separation.bins import LEAST, Binned
from lvlm_saliency.studies.separation.measures import Measured

PAPER_MEANS = {
    "LLaVA-1.5": (0.472, 0.136, 0.193, 0.087),
    "Qwen2-VL": (0.664, 0.158, 0.355, 0.103),
    "InternVL": (0.508, 0.124, 0.224, 0.095),
}
"""Mean and deviation of the `previous` score, correct then hallucinated words (the paper's Table 4)."""

RATES = (
    "The paper's ten bins hold about 45 % hallucinated words together, so its levels cannot be compared with a model "
    "that errs more or less often; its shape can: a rate that falls from bin to bin, from about one and a half times "
    f"the overall rate to half of it. Bins of fewer than {LEAST} words are shown and not ranked. An interval is the "
    "wider of the bootstrap's over pictures and Wilson's."
)
CONTROLS = (
    "Each column compares only words that are equal in one thing, so that what remains of an area is not owed to it: "
    "the same number of tokens before the word; the same tenth of log-probability; both in coarser steps; the same "
    "token; the same fifth of how often the token is written; the same fifth of text length. Position is the one to "
    "watch: a mean over all earlier output is a mean over more words late in a text, whatever the words are."
)
NESTED = (
    "Logistic regressions of hallucination, without and with saliency. Confounders: entropy, position, its logarithm, "
    "text length, and the token's log frequency. Three answers stand side by side. The likelihood-ratio test takes the "
    "words of one picture for independent, and they are not. The cluster-robust Wald test does not. The gain is how "
    f"much better words of unseen pictures are predicted ({FOLDS}-fold cross-validation, whole pictures left out). "
    "The gain decides, because nothing that merely fits the sample passes it."
)
MENTIONS = (
    "A repeated mention (“to the left of the cup”) looks back at the first one, and it is wrong whenever that one was. "
    "Which mentions are counted can move the result by itself; the verdicts are about first ones."
)


def counted(first: Measured, unscored: int, token: str, asked: int) -> str:
    """How many words there are, and what many comparisons mean."""
    pictures = len(set(first.table.group.tolist()))
    spoken = {"first": "its first token", "last": "its last token", "mean": "the mean of its tokens"}[token]
    left_out = f" {unscored} words begin a text, have nothing before them and are left out." if unscored else ""
    return (
        f"{len(first.y):,} first mentions in {pictures} pictures, {int(first.y.sum())} of them hallucinated "
        f"({first.y.mean():.1%}). A word is scored by {spoken}, as the mean over all {len(first.table.layers)} layers."
        f"{left_out}\n\n"
        "An area of 0.5 is chance, 1 means that every hallucinated word scores lower than every correct one (for "
        "entropy: higher), and below 0.5 the order is reversed. Each interval is valid on its own. This page tests "
        f"{asked} areas and gains; if nothing differed, about {round(0.05 * asked)} of their intervals would still "
        "leave chance out. The verdicts above are few and were fixed before; what else stands out in a table is a "
        "hint to be checked on other pictures."
    )


def means(rows: Sequence[Mapping[str, Any]], measured: Measured) -> Table:
    """Mean ± deviation of each score and what it separates; the paper's own below."""
    lines: list[tuple[Cell, ...]] = [
        (
            Cell(row["score"]),
            Cell(f"{row['mean_correct']:.3g} ± {row['sd_correct']:.2g}"),
            Cell(f"{row['mean_hallucinated']:.3g} ± {row['sd_hallucinated']:.2g}"),
            signed(row["difference_in_sd"]),
            area(row["auroc"]),
            estimate(row["average_precision"]),
            signed(row["spearman"], digits=3),
        )
        for row in rows
    ]
    for model, (right, deviation, wrong, other) in PAPER_MEANS.items():
        pooled = math.sqrt((deviation**2 + other**2) / 2)
        cells = (f"paper, {model}: previous", f"{right} ± {deviation}", f"{wrong} ± {other}")
        lines.append((*map(Cell, cells), Cell(f"{(right - wrong) / pooled:+.2f}"), *[Cell("–")] * 3))
    base = measured.y.mean()
    return Table(
        "Correct and hallucinated words",
        ("score", "correct", "hallucinated", "difference (SD)", "AUROC", "average precision", "Spearman"),
        tuple(lines),
        f"n = {len(measured.y):,}. ±: standard deviation. difference: correct minus hallucinated, in pooled standard "
        f"deviations. average precision of chance: {base:.3f}. Spearman: of score and label over words (n as before); "
        "negative where hallucinated words score lower.",
    )


def rates(bins: Mapping[str, Mapping[str, Binned]], measured: Measured) -> Table:
    """Quartiles of every score, and the ends and trend over bins of equal width."""
    lines = []
    for name, kinds in bins.items():
        width = next(iter(kinds.values()))
        quarters = kinds["quartiles"].bins
        cells = [share(one.rate) for one in quarters] + [Cell("–")] * (4 - len(quarters))
        lines.append((Cell(name), *cells, signed(width.spearman), signed(kinds["deciles"].spearman)))
    return Table(
        "Hallucinated words by quarter of each score",
        ("score", "lowest", "second", "third", "highest", "rank correlation, equal width", "…, deciles"),
        tuple(lines),
        f"n = {len(measured.y):,}, overall {measured.y.mean():.1%}. Rank correlation (Spearman) of bin and rate over "
        "the bins; −1: the rate falls with every bin. Every bin is in bins.csv.",
    )


def controls(rows: Sequence[Mapping[str, Any]], measured: Measured) -> Table:
    held = list(dict.fromkeys(row["held_equal"] for row in rows))
    names = list(dict.fromkeys(row["score"] for row in rows))
    lines = [(Cell(name), *(area(row["auroc"]) for row in rows if row["score"] == name)) for name in names]
    compared = [measured.compared(name) for name in held if name != "nothing"]
    lines.append(
        (Cell("hallucinated words compared"), Cell(str(int(measured.y.sum()))), *map(Cell, map(str, compared)))
    )
    return Table("AUROC among words that are equal in …", ("score", *held), tuple(lines), AREA_NOTE)


def groups(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Areas by group of layers."""
    several = [row for row in rows if row["kind"] == "layers"] or [row for row in rows if row["kind"] == "layer"]
    names = list(dict.fromkeys(row["layers"] for row in several))
    lines = [
        (Cell(f"{measure}: {region}", held if held != "nothing" else ""), *map(area, cells))
        for measure, region, held in dict.fromkeys((r["measure"], r["region"], r["held_equal"]) for r in several)
        for cells in [
            [r["auroc"] for r in several if (r["measure"], r["region"], r["held_equal"]) == (measure, region, held)]
        ]
    ]
    return Table("AUROC by group of layers", ("score", *(f"layers {name}" for name in names)), tuple(lines), AREA_NOTE)


def mentions(rows: Mapping[str, Sequence[Mapping[str, Any]]], measured: Mapping[str, Measured]) -> Table:
    names = [row["score"] for row in next(iter(rows.values()))]
    of = {kind: {row["score"]: row for row in found} for kind, found in rows.items()}
    lines = [(Cell(name), *(area(of[kind][name]["auroc"]) for kind in of)) for name in names]
    counts = [Cell(f"{int(one.y.sum())} of {len(one.y):,}") for one in measured.values()]
    return Table("AUROC by kind of mention", ("score", *of), (*lines, (Cell("hallucinated"), *counts)), AREA_NOTE)


def bin_rows(bins: Mapping[str, Mapping[str, Binned]]) -> list[dict[str, Any]]:
    """Every bin of every score, plain."""
    return [
        plain({"score": name, "bins": kind, **vars(one)})
        for name, kinds in bins.items()
        for kind, found in kinds.items()
        for one in found.bins
    ]


AREA_NOTE = "✓ the interval lies above 0.5 (the paper's direction), ✗ below it; 95 % intervals over pictures."
