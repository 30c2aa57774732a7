"""Object words as rows: which of a word's tokens gives its score, the scores, and the strata of comparable words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies.scores import Score
from lvlm_saliency.studies.tokens import MEASURES, TokenTable

TOKENS = ("first", "last", "mean")
SCORED = ("output", "previous", "image", "prompt")


def words(table: TokenTable, token: str = "first") -> TokenTable:
    """One row per object word: its first token (the one that decides on the word), its last, or the mean of what its
    tokens score, at the first one's position."""
    opening = table.mentions()
    if token == "first" or not len(opening):
        return opening
    rows = np.flatnonzero(table.span >= 0)
    starts = np.flatnonzero(table.opens[rows])
    if token == "last":
        return table.take(rows[np.r_[starts[1:], len(rows)] - 1])
    counts = np.diff(np.r_[starts, len(rows)])
    averaged = {}
    for name in ("logprob", "entropy", *MEASURES):
        values = getattr(table, name)[rows]
        total = np.add.reduceat(values, starts, axis=0)
        averaged[name] = (total / counts.reshape(-1, *[1] * (values.ndim - 1))).astype(values.dtype)
    return replace(opening, **averaged)


def scores(table: TokenTable, layers: list[int] | None = None) -> list[Score]:
    """Saliency and plain attention over each region, mean of `layers`, then log-probability and entropy."""
    found = [
        Score(f"{measure}: {region}", values)
        for measure in MEASURES
        for region in SCORED
        for values in [table.score(region, measure, layers).astype(np.float64)]
    ]
    return [
        *found,
        Score("log-probability", table.logprob.astype(np.float64)),
        Score("entropy", table.entropy.astype(np.float64), low_is_risky=False),
    ]


def usable(table: TokenTable) -> np.ndarray:
    """bool `[N]`: every score of the word is a number (a text's first token has nothing before it)."""
    return np.logical_and.reduce([np.isfinite(score.values) for score in scores(table)])


def frequency(table: TokenTable, everything: TokenTable) -> np.ndarray:
    """int `[N]`: how often each row's token is written in all of the texts."""
    known, counts = np.unique(everything.token_id, return_counts=True)
    return counts[np.searchsorted(known, table.token_id)]


def strata(table: TokenTable, everything: TokenTable) -> dict[str, np.ndarray]:
    """What is held equal, by name: int `[N]` each; only words of one stratum are compared with each other."""
    probable = stats.quantile_bins(table.logprob, 10)
    place = stats.quantile_bins(table.position, 10)
    return {
        "same position": table.position,
        "like probability": probable,
        "like position and probability": place * 5 + probable // 2,
        "same token": table.token_id,
        "like frequency": stats.quantile_bins(np.log(frequency(table, everything)), 5),
        "like length of text": stats.quantile_bins(table.length, 5),
    }
