"""What each of the paper's tables needs, and the check that it is there before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvlm_saliency.benchmarks import sources
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.benchmarks.registry import spec
from lvlm_saliency.errors import InputError, SettingError, did_you_mean
from lvlm_saliency.reproduce.paper import LLAVA, Setting


@dataclass(frozen=True)
class Target:
    """Something of the paper that can be measured again.

    Attributes:
        question: what it is, in a line.
        benchmarks: of a run, on the official data and on the drawn scenes ("" for none); empty where a study answers.
        figures: of the paper that are set beside the run's.
        study: the study that answers, with its settings.
        models: how many models it compares at least.
        grid: whether the settings beyond the four rows of the table run as well.
    """

    question: str
    benchmarks: tuple[tuple[str, str], ...] = ()
    figures: tuple[str, ...] = ("CHAIR_s", "CHAIR_i", "f1", "accuracy")
    study: str = ""
    models: int = 1
    grid: bool = False


RUN = (("chair", "scenes-caption"), ("pope", "scenes-pope"))
SCIENCE, BLIND = (("scienceqa", ""),), (("vizwiz", ""),)
TARGETS = {
    "main": Target("The main table: CHAIR and POPE of greedy decoding, LocoRE, SGRS and both.", RUN),
    "cross-model": Target("The same on several models beside each other.", RUN, models=2),
    "ablation": Target("The table over alpha and beta, beta 1 among them.", RUN, grid=True),
    "scienceqa": Target("ScienceQA, questions with a picture, of the same rows.", SCIENCE, ("image_accuracy",)),
    "vizwiz": Target("VizWiz, its val split, of the same rows.", BLIND, ("fraction",)),
    "quartiles": Target(
        "How often words are hallucinated from the lowest to the highest saliency.", study="separation"
    ),
    "decay": Target("What becomes of captions as the saliency of confident words is scaled down.", study="decay"),
    "latency": Target("What the methods cost per token.", study="latency"),
}
ON = ("coco", "scenes")
LIMIT = 512
"""Most new tokens of an answer, where neither the user nor the benchmark says otherwise."""


def target(name: str) -> Target:
    """The target of this name.

    Raises:
        SettingError: there is none.
    """
    if name not in TARGETS:
        raise SettingError(f"nothing of the paper is called {name!r}{did_you_mean(name, TARGETS)}")
    return TARGETS[name]


def settings_of(chosen: Target, rows: Sequence[Setting], further: Sequence[Setting]) -> list[Setting]:
    """The rows that run beside greedy decoding."""
    wanted = [*rows, *further] if chosen.grid else rows
    return [row for row in wanted if row.spec]


def usual_rows() -> tuple[tuple[Setting, ...], tuple[Setting, ...]]:
    """The rows for a model that the paper says nothing of: those of LLaVA-1.5-7B, whose figures are then not shown."""
    return LLAVA.rows, tuple(Setting(row.alpha, row.beta, ()) for row in LLAVA.further)


def asked(chosen: Target, on: str, limit: int | None) -> list[str]:
    """The benchmarks as `evaluate` takes them; a `limit` on new tokens that the user gave goes before their own."""
    return [
        f"{name}:max_new_tokens={limit}" if limit and open_benchmark(name).max_new_tokens else name
        for name in benchmarks(chosen, on)
    ]


def benchmarks(chosen: Target, on: str) -> list[str]:
    """The names of the benchmarks that run.

    Raises:
        SettingError: the drawn scenes have none of this kind.
    """
    found = [pair[ON.index(on)] for pair in chosen.benchmarks]
    if not all(found):
        raise SettingError(f"{chosen.benchmarks[0][0]} has no questions about the drawn scenes: leave --on out")
    return found


def missing(
    chosen: Target, models: Sequence[str], on: str, data: str | Path | None, images: str | Path | None
) -> list[str]:
    """Everything that is not there, a line each; nothing is run or loaded for it."""
    lines = []
    if len(models) < chosen.models:
        lines.append(f"at least {chosen.models} models: give --model so often")
    for model in models:
        if _is_path(model) and not Path(model).is_dir():
            lines.append(f"the checkpoint {model}: no such folder")
    needed = benchmarks(chosen, on) if chosen.benchmarks else ["chair"] if on == "coco" else []
    for name in needed:
        found = sources.check(name, data, images)
        if sources.complete(found):
            continue
        for one in found:
            if one.path is None and not one.need.optional:
                option = "--images" if one.need.stem == "pictures" else "--data"
                lines.append(f"{name}: {one.need.what} ({one.need.stem}, {option}), from {one.need.where}")
    return list(dict.fromkeys(lines))


def check(chosen: Target, models: Sequence[str], on: str, data: str | Path | None, images: str | Path | None) -> None:
    """Raise where something is missing.

    Raises:
        InputError: naming all of it.
    """
    if lacking := missing(chosen, models, on, data, images):
        raise InputError(f"nothing was run, because this is missing: {'; '.join(lacking)}")


def _is_path(model: str) -> bool:
    return model.startswith((".", "/", "~")) or Path(model).exists()


def described() -> list[tuple[str, str, list[str]]]:
    """Name, question and needs of every target."""
    return [
        (name, one.question, [need.what for bench in benchmarks(one, "coco") for need in spec(bench).needs])
        for name, one in TARGETS.items()
    ]
