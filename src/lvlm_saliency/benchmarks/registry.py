"""The table of benchmarks: a name and the package that holds everything else. A new benchmark is a package and a
row."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from lvlm_saliency.errors import SettingError, did_you_mean

if TYPE_CHECKING:  # a command's help and completion read the names alone
    from lvlm_saliency.benchmarks.spec import Scores, Spec
    from lvlm_saliency.judge.run import Judging
    from lvlm_saliency.pages.figures import Figure


class Room(NamedTuple):
    """Where a benchmark lives below this package, whether `evaluate` runs it, and whether a judge reads its answers."""

    package: str
    runs: bool = False
    judged: bool = False


ROOMS = {
    "scenes-caption": Room("scenes", runs=True),
    "scenes-pope": Room("scenes", runs=True),
    "scene-statements": Room("scenes"),
    "pope": Room("pope", runs=True),
    "chair": Room("chair", runs=True),
    "mme": Room("mme", runs=True),
    "amber": Room("amber", runs=True),
    "llava-bench": Room("llava_bench", runs=True, judged=True),
    "mm-vet": Room("mm_vet", runs=True, judged=True),
    "vizwiz": Room("vizwiz", runs=True),
    "scienceqa": Room("scienceqa", runs=True),
    "hallusionbench": Room("hallusionbench", runs=True, judged=True),
    "mmhal-bench": Room("mmhal_bench", runs=True, judged=True),
    "mmvp": Room("mmvp", runs=True, judged=True),
}


@cache
def spec(name: str) -> Spec:
    """What is known of a benchmark.

    Raises:
        SettingError: there is none of this name.
    """
    if name not in ROOMS:
        raise SettingError(f"no benchmark {name!r}{did_you_mean(name, ROOMS)}")
    room = import_module(f"lvlm_saliency.benchmarks.{ROOMS[name].package}.spec")
    return next(one for one in room.SPECS if one.name == name)


@cache
def specs() -> tuple[Spec, ...]:
    """Every benchmark, in the table's order."""
    return tuple(map(spec, ROOMS))


def runnable() -> tuple[str, ...]:
    """The benchmarks that `evaluate` runs."""
    return tuple(name for name, room in ROOMS.items() if room.runs)


def judged() -> tuple[str, ...]:
    """The benchmarks whose answers a language model judges."""
    return tuple(name for name, room in ROOMS.items() if room.judged)


def judging(name: str) -> Judging:
    """The judging part of a benchmark.

    Raises:
        SettingError: no judge reads this benchmark, or there is none of this name.
    """
    if name not in judged():
        raise SettingError(f"no judge reads {name!r}{did_you_mean(name, judged())}")
    return import_module(f"lvlm_saliency.benchmarks.{ROOMS[name].package}.judging").Judging()


def scores_of(name: str) -> Scores:
    """How the results of a scorer are read. `name`: the entry "benchmark" of a result.

    Raises:
        SettingError: no scorer has this name.
    """
    found = spec(name).scores
    if found is None:
        raise SettingError(f"{name} has no scorer of its own")
    return found


@cache
def figures() -> dict[str, Figure]:
    """Every figure that summaries show, by name."""
    return {figure.name: figure for one in specs() if one.scores for figure in one.scores.figures}
