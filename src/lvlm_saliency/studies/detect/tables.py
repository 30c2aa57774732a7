"""The tables of `detect`, and its figures as rows of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED
from lvlm_saliency.stats.clusters import Estimate
from lvlm_saliency.studies.detect.mentions import COSTS
from lvlm_saliency.studies.page import Cell, Table

if TYPE_CHECKING:
    from lvlm_saliency.studies.detect.study import Results

NAMES = {GREEDY: "greedy", SAMPLED: "sampled"}


def signed(found: Estimate) -> str:
    """A difference with its sign and interval."""
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def areas(results: Results) -> Table:
    rows = tuple(
        (Cell(name), Cell(str(area)), Cell(str(matched)))
        for name, (area, matched) in sorted(results.areas.items(), key=lambda pair: -pair[1][0].value)
    )
    n = results.areas["risk"][0].n
    return Table(
        "AUROC for hallucinated first mentions, greedy texts", ("score", "AUROC", "position-matched"), rows, f"n = {n}"
    )


def worths(results: Results) -> Table:
    rows = tuple(
        (
            Cell(one.group),
            Cell(str(one.alone)),
            Cell(str(one.alone_matched)),
            Cell("-" if one.group == "log-probability" else signed(one.added), tone=_tone(one.added)),
            Cell(signed(one.within), tone=_tone(one.within)),
        )
        for one in results.worths
    )
    head = ("group", "alone", "alone, matched", "beside log p", "beside the rest of the trace")
    return Table("AUROC by group of features", head, rows, f"n = {results.worths[0].alone.n}")


def _tone(found: Estimate) -> str:
    return "better" if found.low > 0 else "worse" if found.high < 0 else ""


def calibration(results: Results) -> Table:
    rows = tuple(
        (
            Cell(NAMES.get(tested, tested)),
            Cell(kind),
            Cell(f"{one.ece.value:.4f} [{one.ece.low:.4f}, {one.ece.high:.4f}]"),
            Cell(f"{one.by_chance[0]:.4f}, up to {one.by_chance[1]:.4f}"),
            Cell(str(one.brier)),
            Cell(f"{one.constant:.3f}"),
            Cell(f"{one.loss:.4f}"),
            Cell(f"{one.risk:.3f} / {one.rate:.3f}"),
            Cell(str(one.n)),
        )
        for (kind, tested), one in results.calibrated.items()
    )
    head = (
        "texts",
        "calibration",
        "ECE",
        "by chance",
        "Brier",
        "Brier of the base rate",
        "log loss",
        "mean risk / share hallucinated",
        "n",
    )
    return Table("Calibration on held-out pictures", head, rows)


def transfers(results: Results) -> Table:
    rows = tuple(
        (
            Cell(" and ".join(NAMES.get(part, part) for part in one.trained.split(" and "))),
            Cell(NAMES.get(one.tested, one.tested)),
            Cell(str(one.free)),
            Cell(str(one.every)),
            Cell(f"{one.risk:.3f} / {one.rate:.3f}"),
            Cell(str(one.free.n)),
        )
        for one in results.transfers
    )
    head = (
        "trained on",
        "tested on",
        "AUROC, trace alone",
        "AUROC, every signal",
        "mean risk / share hallucinated",
        "n",
    )
    return Table("Transfer between ways of decoding (first mentions, logistic regression)", head, rows)


def data(results: Results) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Every figure of the page as rows."""

    def parts(prefix: str, one: Estimate) -> dict[str, Any]:
        return {prefix: one.value, f"{prefix}_low": one.low, f"{prefix}_high": one.high}

    areas = [
        {"score": name, **parts("auroc", area), **parts("matched", matched), "n": area.n}
        for name, (area, matched) in results.areas.items()
    ]
    gains = [{"gain": name, **parts("difference", one), "n": one.n} for name, one in results.gains.items()]
    groups = [
        {
            "group": one.group,
            "cost": COSTS[one.group],
            **parts("alone", one.alone),
            **parts("alone_matched", one.alone_matched),
            **parts("added", one.added),
            **parts("within", one.within),
            "n": one.alone.n,
        }
        for one in results.worths
    ]
    transfers = [
        {
            "trained": one.trained,
            "tested": one.tested,
            **parts("free", one.free),
            **parts("every", one.every),
            "mean_risk": one.risk,
            "rate": one.rate,
            "n": one.free.n,
        }
        for one in results.transfers
    ]
    bins = [
        {"calibration": kind, "texts": tested, "bin": at, "risk": one.risk, **parts("rate", one.rate), "n": one.rate.n}
        for (kind, tested), found in results.calibrated.items()
        for at, one in enumerate(found.bins)
    ]
    candidates = [{"candidate": name, "held_out_log_loss": loss} for name, loss in results.fitted.losses.items()]
    return {
        "areas": areas,
        "gains": gains,
        "groups": groups,
        "transfers": transfers,
        "reliability": bins,
        "candidates": candidates,
    }
