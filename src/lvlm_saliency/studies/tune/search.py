"""The search behind `tune`: candidates drawn from ranges, halved on the dev half of a benchmark's pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lvlm_saliency import hf
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation.summary.content import RunData
from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED, System, system
from lvlm_saliency.interventions.parsing import parse_specs
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.tune.halving import Rung, captions, halve, plan
from lvlm_saliency.studies.tune.objective import Measured, Objective, measured
from lvlm_saliency.studies.tune.ranges import Space

BASELINES = (GREEDY, SAMPLED)  # every evaluation runs these two beside the methods that it is given
TUNABLE = ("scenes-caption", "chair")
PART = "captions"


@dataclass(frozen=True)
class Halves:
    """A benchmark of descriptions in two halves: settings are chosen on "dev" and judged on "test"."""

    spec: str

    def __post_init__(self) -> None:
        name, given = self._parsed
        if name not in TUNABLE:
            known = " or ".join(TUNABLE)
            raise SettingError(f"tune: {name} has no halves to choose and to judge on; give --labels {known}")
        if taken := {"split", "offset"} & set(given):
            raise SettingError(f"tune divides the pictures itself; leave {taken.pop()} out of --labels")

    @property
    def _parsed(self) -> tuple[str, dict[str, Any]]:
        return parse_specs(self.spec)[0]

    @property
    def name(self) -> str:
        return self._parsed[0]

    def dev(self, first: int) -> str:
        """The benchmark's dev half from picture `first` on, as `open_benchmark` takes it."""
        return self._with(split="dev", offset=first)

    @property
    def test(self) -> str:
        return self._with(split="test")

    def check(self, lab: Lab, rungs: Sequence[Rung]) -> None:
        """Raise InputError where either half has too few pictures, before anything is described."""
        wanted = rungs[-1].seen
        files = {"images": lab.settings.images, "data": lab.settings.data}
        there = len(open_benchmark(self.dev(0), n=wanted, **files).items)
        if there < wanted:
            raise InputError(
                f"tune: {self.name} has {there} pictures in its dev half and this budget needs {wanted}; "
                "give a smaller --budget, or more pictures"
            )
        open_benchmark(self.test, n=lab.settings.n, **files).check()

    def _with(self, **more: Any) -> str:
        written = ",".join(f"{name}={value}" for name, value in more.items())
        return f"{self.spec}{',' if ':' in self.spec else ':'}{written}"


@dataclass(frozen=True)
class Judged:
    """A candidate after a rung: what it did on the dev pictures so far, and whether it went on."""

    rung: Rung
    label: str
    figures: Mapping[str, float]
    oversteps: Mapping[str, float]
    kept: bool


@dataclass
class Search:
    """What was tried and found.

    Attributes:
        candidates: drawn settings, the default one first.
        results: CHAIR results by label, one for each rung that the candidate (or baseline) was in.
        trail: every judgement, in order.
        seconds: spent on generating captions.
    """

    objective: Objective
    candidates: list[System]
    rungs: list[Rung]
    results: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    trail: list[Judged] = field(default_factory=list)
    ranking: list[System] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def captions(self) -> int:
        return captions(self.rungs, len(BASELINES))

    def measured(self, label: str) -> Measured:
        """What was seen of a candidate or baseline on all rungs that it was in."""
        return measured(self.results[label])

    @property
    def best(self) -> System:
        return self.ranking[0]

    @property
    def beats_greedy(self) -> bool:
        """Whether the best candidate is better than greedy decoding on the dev pictures, both on all of them."""
        greedy = self.measured(GREEDY)
        return self.objective.key(self.measured(self.best.label), greedy) < self.objective.key(greedy, greedy)


def draw_candidates(space: Space, count: int, seed: int, layers: Sequence[int], model_type: str) -> list[System]:
    """The usual setting and draws from the ranges, `count` in all, or fewer where the ranges hold fewer."""
    random = np.random.default_rng(seed)
    found = dict([_named(space.usual(model_type), seed)])
    for _ in range(100 * count):
        if len(found) == count:
            break
        label, one = _named(space.draw(random, layers), seed)
        found.setdefault(label, one)
    return list(found.values())


def _named(methods: list[Any], seed: int) -> tuple[str, System]:
    """The methods as they were drawn, under their label: runs give a seed to those that have none."""
    label = system(methods, seed).label
    return label, System(label, tuple(methods))


def search(
    lab: Lab, halves: Halves, space: Space, objective: Objective, *, settings: int, keep: int, budget: int
) -> Search:
    """Draw and halve; what was described before is read, not described again."""
    layers = hf.target_layers(lab.structure, None)
    candidates = draw_candidates(space, settings, lab.settings.seed, layers, lab.structure.config.model_type)
    found = Search(objective, candidates, plan(len(candidates), keep, budget, len(BASELINES)))
    halves.check(lab, found.rungs)

    def judge(rung: Rung, alive: list[System]) -> list[Any]:
        methods = [list(one.methods) for one in alive]
        data, _ = lab.run(methods, benchmarks=[halves.dev(rung.first)], n=rung.pictures, resamples=0)
        take(found, data, halves.name, [*BASELINES, *(one.label for one in alive)])
        greedy = found.measured(GREEDY)
        seen = [found.measured(one.label) for one in alive]
        keys = [objective.key(one, greedy) for one in seen]
        going_on = sorted(range(len(alive)), key=lambda at: keys[at])[: rung.kept]
        for at, (one, what) in enumerate(zip(alive, seen, strict=True)):
            beyond = objective.oversteps(what, greedy)
            found.trail.append(Judged(rung, one.label, what.figures, beyond, at in going_on))
        _tell(lab, found, rung)
        return keys

    found.ranking = halve(candidates, found.rungs, judge)
    return found


def take(found: Search, data: RunData, benchmark: str, labels: Sequence[str]) -> None:
    """Add a finished run on further pictures."""
    for label in labels:
        found.results.setdefault(label, []).append(data.detail(benchmark, label)[PART])
        found.seconds += data.cost(benchmark, label)["seconds"]


def _tell(lab: Lab, found: Search, rung: Rung) -> None:
    """After a rung but the last: how far the search is, and how long it will take at the pace so far."""
    done = captions(found.rungs[: rung.number + 1], len(BASELINES))
    minutes = (found.captions - done) * found.seconds / done / 60
    if rung is not found.rungs[-1]:
        left = f"about {minutes:.0f} minutes" if minutes >= 1.5 else f"about {60 * minutes:.0f} seconds"
        lab.listener.note(
            f"tune: {rung.kept} of {rung.settings} settings go on; {done} of {found.captions} captions to choose on "
            f"are written, {left} of choosing are left"
        )
