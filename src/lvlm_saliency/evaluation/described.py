"""What a run says of its model, so that its folder takes no answers of another: found where the model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvlm_saliency.benchmarks.base import Benchmark
from lvlm_saliency.evaluation.decoding import Decoder
from lvlm_saliency.evaluation.systems import System, served
from lvlm_saliency.interventions.preset_files import notes
from lvlm_saliency.model import provenance
from lvlm_saliency.model.checkpoints import is_shipped
from lvlm_saliency.scenes.recognise import NOT_A_SCENE

Digests = Mapping[str, Mapping[str, str]]
"""Benchmark to picture to its SHA-256."""


@dataclass(frozen=True)
class Description:
    """systems: those that the model can run; left_out: reasons, by label, why it cannot run the others; notes: lines
    for the user; config: the content of the run's config.json."""

    systems: list[System]
    left_out: dict[str, str]
    notes: list[str]
    config: dict[str, Any]


def describe(
    decoder: Decoder, benchmarks: Sequence[Benchmark], systems: Sequence[System], digests: Digests
) -> Description:
    """What a run of these needs to know of the decoder's model.

    Raises:
        LvlmSaliencyError: a system that was named does not fit the model.
    """
    model, settings = decoder.model, decoder.settings
    fitting, left_out = served(systems, model)
    lines = [f"{label} is left out: {reason}" for label, reason in left_out.items()]
    if is_shipped(model) and not all(benchmark.name.startswith("scenes-") for benchmark in benchmarks):
        lines.append(NOT_A_SCENE)
    lines += notes(settings.methods, model)
    shared = ("model", "revision", "seed", "max_new_tokens", "temperature", "top_p")
    config = {
        "settings": {name: getattr(settings, name) for name in shared},
        "benchmarks": {one.name: _benchmark(decoder, one, digests[one.name]) for one in benchmarks},
        "systems": {system.label: system.record() for system in fitting},
        **({"left_out": left_out} if left_out else {}),
        "model": provenance.model_record(model),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }
    return Description(fitting, left_out, lines, config)


def _benchmark(decoder: Decoder, benchmark: Benchmark, images: Mapping[str, str]) -> dict[str, Any]:
    prompts = [decoder.rendered(item) for item in benchmark.items]
    return {
        **benchmark.described(),
        "items": len(benchmark.items),
        "pictures": len(images),
        "images_sha256": provenance.digest(f"{name} {digest}" for name, digest in images.items()),
        "prompts_sha256": provenance.digest(prompts),
        "first_prompt": prompts[0],
    }
