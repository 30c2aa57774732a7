"""Two systems on the same items: the difference of every figure, with its paired interval."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from lvlm_saliency.benchmarks import (
    amber,
    chair,
    hallusionbench,
    llava_bench,
    mm_vet,
    mme,
    mmhal_bench,
    mmvp,
    pope,
    scienceqa,
    vizwiz,
)
from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems, image_key
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable

Result = Mapping[str, Any]

# Where each benchmark's result keeps its items, what tells two items apart, and how they become counts per image.
_ITEMS: dict[str, tuple[str, Callable[[Result], Hashable], Callable[[Result], CountTable]]] = {
    "chair": ("per_caption", lambda item: image_key(item["image_id"]), chair.table),
    "pope": ("per_question", lambda item: (item["image"], item["question_id"]), pope.table),
    "mme": ("per_image", lambda item: (item["task"], item["line"], item["image"]), mme.table),
    "amber": ("per_response", lambda item: item["id"], amber.table),
    "llava-bench": ("per_question", lambda item: item["question_id"], llava_bench.table),
    "mm-vet": ("per_question", lambda item: item["question_id"], mm_vet.table),
    "vizwiz": ("per_question", lambda item: item["image"], vizwiz.table),
    "scienceqa": ("per_question", lambda item: item["question_id"], scienceqa.table),
    "hallusionbench": (
        "per_question",
        lambda item: tuple(item[part] for part in hallusionbench.PLACE),
        hallusionbench.table,
    ),
    "mmhal-bench": ("per_question", lambda item: item["question"], mmhal_bench.table),
    "mmvp": ("per_pair", lambda item: item["pair"], mmvp.table),
}


def compare(one: Result, other: Result, *, errors: str = "raise", bootstrap: Bootstrap | None = None) -> dict[str, Any]:
    """Every figure of `one` minus that of `other`, two results of the same scorer.

    `errors`: items that only one of them has raise `InputError`, or with "skip" are left out of both and counted.
    Returns `figures` (`{name: {"difference", "interval"}}`), `items`, `skipped` and how the interval was drawn. Both
    systems see the same redrawn images, so what is hard for both cancels out.
    Raises `InputError` also when benchmark, variant, parser or task differ.
    """
    for setting in ("benchmark", "task", "variant", "parser"):
        if one.get(setting) != other.get(setting):
            raise InputError(f"cannot compare {setting} {one.get(setting)!r} with {setting} {other.get(setting)!r}")
    problems = Problems(errors)
    where, key_of, table_of = _ITEMS[one["benchmark"]]
    keys = [{key_of(item) for item in result[where]} for result in (one, other)]
    shared = keys[0] & keys[1]
    if alone := len(keys[0] ^ keys[1]):
        problems.report("unpaired", f"{alone} items were answered by one of the two systems only", alone)
    tables = [
        table_of({**result, where: [item for item in result[where] if key_of(item) in shared]})
        for result in (one, other)
    ]
    bootstrap = bootstrap or Bootstrap()
    return {
        "figures": bootstrap.differences(*tables),
        "items": len(shared),
        "bootstrap": {**bootstrap.settings(one["bootstrap"]["unit"]), "paired": True},
        "skipped": dict(problems.skipped),
    }
