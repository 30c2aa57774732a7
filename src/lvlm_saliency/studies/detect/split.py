"""Training and held-out pictures, never the same, under every way of decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED
from lvlm_saliency.interventions.parsing import parse_specs
from lvlm_saliency.studies.detect.mentions import Mentions, gather, opening_tokens
from lvlm_saliency.studies.lab import Lab

APART = 1000
"""Training scenes are drawn with this added to the seed of the held-out ones."""


@dataclass(frozen=True)
class Split:
    """Mentions by way of decoding, from training pictures and from held-out ones; how says how they were parted."""

    train: dict[str, Mentions]
    held: dict[str, Mentions]
    how: str


def split(lab: Lab, pictures: int, method: str) -> Split:
    """Drawn scenes: `pictures` new ones to train on, under greedy decoding and sampling, and the lab's own held out,
    under `method` as well. Other pictures are halved by the lab's seed; texts from a file have one way only."""
    if lab.from_file:
        return _halved(lab, [GREEDY], None)
    name, settings = parse_specs(lab.settings.labels)[0]
    if not name.startswith("scenes"):
        return _halved(lab, [GREEDY, SAMPLED, method], [method])
    seed = int(settings.get("seed", 0)) + APART
    changed = {**settings, "seed": seed, "n": pictures}
    spec = f"{name}:{','.join(f'{key}={value}' for key, value in changed.items())}"
    drawn: dict[str, Any] = {"labels": spec, "n": pictures}
    objects = opening_tokens(lab.texts(GREEDY, **drawn))
    train = {one: gather(lab, one, objects=objects, among=[], **drawn) for one in (GREEDY, SAMPLED)}
    held = {one: gather(lab, one, objects=objects, among=[method]) for one in (GREEDY, SAMPLED, method)}
    count = len(open_benchmark(lab.settings.labels, n=lab.settings.n).items)
    return Split(train, held, f"{pictures} scenes of seed {seed} to train on, {count} of seed {seed - APART} held out")


def _halved(lab: Lab, methods: Sequence[str], among: Sequence[str] | None) -> Split:
    objects = opening_tokens(lab.texts(GREEDY, among=among))
    found = {one: gather(lab, one, objects=objects, among=among) for one in methods}
    names = sorted({picture for mentions in found.values() for picture in mentions.picture})
    shuffled = np.random.default_rng(lab.settings.seed).permutation(np.array(names, dtype=object))
    chosen = shuffled[: (len(names) + 1) // 2]
    parts = [
        {
            one: mentions.take(np.isin(mentions.picture.astype(str), chosen.astype(str)) == half)
            for one, mentions in found.items()
        }
        for half in (True, False)
    ]
    train = {one: mentions for one, mentions in parts[0].items() if one in (GREEDY, SAMPLED)}
    return Split(train, parts[1], f"{len(chosen)} pictures to train on, the other {len(names) - len(chosen)} held out")


def first(mentions: Mentions) -> Mentions:
    """First mentions alone."""
    return mentions.take(mentions.first)


def firsts(parts: dict[str, Mentions]) -> dict[str, Mentions]:
    """First mentions alone, of each way of decoding."""
    return {name: first(mentions) for name, mentions in parts.items()}
