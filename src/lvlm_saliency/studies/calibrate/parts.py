"""Disjoint parts of the pictures: to fit on, to calibrate thresholds on, to choose on, and to report on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.interventions.parsing import parse_specs
from lvlm_saliency.studies.lab import Lab

FIT, CALIBRATE, TUNE, REPORT = "fit", "calibrate", "tune", "report"
SHARES = {FIT: 0.4, CALIBRATE: 0.3, TUNE: 0.1, REPORT: 0.2}
ASKED_SHARES = {CALIBRATE: 0.8, REPORT: 0.2}
"""The shares where only a threshold of the model's own answers is calibrated."""
LEAST = 40
"""The smallest number of pictures that can be split into four parts."""
APART = 2000
"""Added to the seed of drawn scenes, so that the default scenes of `evaluate` stay unseen."""


@dataclass(frozen=True)
class Part:
    """One of the disjoint parts of the pictures.

    Attributes:
        name: `FIT`, `CALIBRATE`, `TUNE` or `REPORT`.
        pictures: how many pictures it has.
        spec: the benchmark that asks about just these pictures; None where texts come from a file.
        images: the names of the pictures, where texts come from a file.
    """

    name: str
    pictures: int
    spec: str | None = None
    images: frozenset[str] = frozenset()


def sizes(pictures: int, shares: Mapping[str, float] = SHARES) -> dict[str, int]:
    """How many pictures each part has; all of them are used.

    Raises:
        InputError: too few for four parts.
    """
    if pictures < LEAST:
        raise InputError(
            f"{pictures} pictures: too few for parts that share none ({', '.join(shares)}); give at least "
            f"{LEAST}, better 400 or more (--n)"
        )
    found = {name: int(pictures * share) for name, share in shares.items()}
    found[next(iter(found))] += pictures - sum(found.values())
    return found


def parts_of(lab: Lab, shares: Mapping[str, float] = SHARES) -> dict[str, Part]:
    """The parts of the lab's pictures: one after the other in a benchmark's list, dealt out by the lab's seed where the
    labelled texts come from a file.

    Raises:
        InputError: too few pictures, or files that cannot be used.
        SettingError: drawn scenes of a part that is not known.
    """
    if lab.from_file:
        return _dealt([text.image for text in lab.texts()], lab.settings.seed, shares)
    name, given = parse_specs(lab.settings.labels)[0]
    if name.startswith("scenes"):
        seed = given.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise SettingError(f"{name}: seed must be a whole number, got {seed!r}")
        given = {**given, "seed": seed + APART}
    opened = open_benchmark(_spec(name, given), n=lab.settings.n, images=lab.settings.images, data=lab.settings.data)
    begin, found = int(given.get("offset", 0)), {}
    for part, count in sizes(len({item.image for item in opened.items}), shares).items():
        found[part] = Part(part, count, _spec(name, {**given, "offset": begin}))
        begin += count
    return found


def _dealt(images: Sequence[str], seed: int, shares: Mapping[str, float]) -> dict[str, Part]:
    names = np.array(sorted(set(images)), dtype=object)
    order = np.random.default_rng(seed).permutation(len(names))
    found, begin = {}, 0
    for part, count in sizes(len(names), shares).items():
        chosen = names[order[begin : begin + count]].tolist()
        found[part] = Part(part, count, images=frozenset(chosen))
        begin += count
    return found


def _spec(name: str, settings: dict[str, Any]) -> str:
    return f"{name}:{','.join(f'{key}={value}' for key, value in settings.items())}" if settings else name
