"""Two systems on the same items: the difference of every figure, with its paired interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvlm_saliency.benchmarks.registry import scores_of
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems
from lvlm_saliency.judge.record import check_same
from lvlm_saliency.stats.bootstrap import Bootstrap

Result = Mapping[str, Any]


def compare(one: Result, other: Result, *, errors: str = "raise", bootstrap: Bootstrap | None = None) -> dict[str, Any]:
    """Every figure of `one` minus that of `other`, two results of the same scorer.

    `errors`: items that only one of them has raise `InputError`, or with "skip" are left out of both and counted.
    Returns `figures` (`{name: {"difference", "interval"}}`), `items`, `skipped` and how the interval was drawn. Each
    resample has the same images for both systems, so images that are hard for both cancel out.
    Raises `InputError` also when benchmark, variant, parser, task or judge differ.
    """
    for setting in ("benchmark", "task", "variant", "parser"):
        if one.get(setting) != other.get(setting):
            raise InputError(f"cannot compare {setting} {one.get(setting)!r} with {setting} {other.get(setting)!r}")
    check_same(one.get("judge"), other.get("judge"))
    problems = Problems(errors)
    scores = scores_of(one["benchmark"])
    where, key_of, table_of = scores.items, scores.key, scores.counts
    keys = [{key_of(item) for item in result[where]} for result in (one, other)]
    shared = keys[0] & keys[1]
    if alone := len(keys[0] ^ keys[1]):
        problems.report("unpaired", f"{alone} items were answered by one of the two systems only", alone)
    table, other_table = (
        table_of({**result, where: [item for item in result[where] if key_of(item) in shared]})
        for result in (one, other)
    )
    bootstrap = bootstrap or Bootstrap()
    return {
        "figures": bootstrap.differences(table, other_table),
        "items": len(shared),
        "bootstrap": {**bootstrap.settings(one["bootstrap"]["unit"]), "paired": True},
        "skipped": dict(problems.skipped),
    }
