"""The guard's controls as systems of a run: the same guard with another decision which words it acts on.

`guard:verdicts=oracle` decides by the benchmark's labels, `guard:verdicts=random` and `guard:verdicts=position` act as
often as `guard` did in the same run (`lvlm_saliency.guard.verdicts`). On the command line they are only names; here
they receive the labels, or the words that the guard judged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lvlm_saliency.benchmarks.base import Benchmark
from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.evaluation.folder import RunFolder
from lvlm_saliency.evaluation.systems import System, system
from lvlm_saliency.guard.verdicts import Judged, Oracle, Position, Random, Rates

BY_LABELS, BY_RATE = "oracle", ("random", "position")
GATES = (BY_LABELS, *BY_RATE)


def gate(system: System) -> str | None:
    """The control that decides in this system; None where the guard's own judge does, or there is no guard.

    Raises:
        SettingError: no control of this name.
    """
    for method in system.methods:
        given = getattr(method, "verdicts", None)
        if isinstance(given, str):
            if given not in GATES:
                raise SettingError(f"guard: no control {given!r} to decide in its place{did_you_mean(given, GATES)}")
            return given
    return None


def ungated(one: System, seed: int) -> System:
    """The same system with the guard's own judge, as `system` makes it in a run of this seed."""
    plain = [
        dataclasses.replace(method, verdicts=None, seed=None if method.seed == seed else method.seed)
        if isinstance(getattr(method, "verdicts", None), str)
        else method
        for method in one.methods
    ]
    return dataclasses.replace(system(plain, seed), optional=one.optional)


def in_order(systems: Sequence[System], seed: int) -> list[System]:
    """The systems, with those last that depend on others; the others are added where they are missing."""
    found = {one.label: one for one in systems if gate(one) not in BY_RATE}
    gated = [one for one in systems if gate(one) in BY_RATE]
    for one in gated:
        base = ungated(one, seed)
        found.setdefault(base.label, base)
    return [*found.values(), *gated]


def check(systems: Iterable[System], benchmarks: Iterable[Benchmark]) -> None:
    """Refuse the oracle control on benchmarks without object labels.

    Raises:
        SettingError: naming system and benchmark.
    """
    oracles = [one.label for one in systems if gate(one) == BY_LABELS]
    for benchmark in benchmarks if oracles else ():
        if benchmark.items and benchmark.present(benchmark.items[0]) is None:
            raise SettingError(
                f"{oracles[0]} decides by labels, and {benchmark.name} does not say what is in its pictures: run it on "
                "scenes-caption or chair"
            )


def bound(one: System, benchmark: Benchmark, folder: RunFolder, seed: int) -> System | None:
    """The system with its control in place; None while answers of the guard that it depends on are missing in other
    shards. A system without a control is returned as it is."""
    kind = gate(one)
    if kind is None:
        return one
    if kind == BY_LABELS:
        source: Any = Oracle({item.index: frozenset(benchmark.present(item) or ()) for item in benchmark.items})
    else:
        answers = folder.answers(benchmark.name, ungated(one, seed), benchmark.items)
        if len(answers) < len(benchmark.items):
            return None
        words = [pair for index, row in answers.items() for pair in judged(index, row)]
        source = Random(Rates.measured(words), seed) if kind == "random" else Position.measured(words, seed)
    methods = [
        dataclasses.replace(method, verdicts=source) if getattr(method, "verdicts", None) == kind else method
        for method in one.methods
    ]
    return dataclasses.replace(one, methods=tuple(methods))


def judged(index: int, row: Mapping[str, Any]) -> list[tuple[Judged, bool]]:
    """The words of an answer that the guard judged, read from the row that `written_down` made."""
    return [
        (Judged(index, name, sentence, attempt, before), acted)
        for name, sentence, attempt, before, acted in row.get("judged", ())
    ]


def written_down(events: Any) -> dict[str, Any]:
    """The guard's entries of a row: every event, and every word that was judged, also in sentences that were rolled
    back."""
    return {
        "guard": [event.to_dict() for event in events],
        "judged": [[w.name, w.sentence, w.attempt, w.before, bool(acted)] for w, acted in events.judged],
    }
