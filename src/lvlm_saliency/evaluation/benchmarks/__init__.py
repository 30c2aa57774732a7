"""The benchmarks of `evaluate`: where items, pictures and fixed prompts come from. `..benchmarks` scores them."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path

from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.evaluation.benchmarks.base import Benchmark, Item
from lvlm_saliency.interventions.parsing import parse_specs

__all__ = ["BENCHMARKS", "Benchmark", "Item", "open_benchmark"]

BENCHMARKS = {
    "scenes-caption": "scenes:ScenesCaption",
    "scenes-pope": "scenes:ScenesPope",
    "pope": "pope:Pope",
    "chair": "chair:Chair",
    "mme": "mme:Mme",
    "amber": "amber:Amber",
}


def open_benchmark(
    spec: str, *, n: int | None = None, images: str | Path | None = None, data: str | Path | None = None
) -> Benchmark:
    """The benchmark that `spec` names, as in `pope:images=coco/val2014,parser=opera`; its own settings go first.

    Raises:
        SettingError: an unknown benchmark or setting, or a value that is not allowed.
    """
    parsed = parse_specs(spec)
    if len(parsed) != 1:
        raise SettingError(f"{spec!r} names several benchmarks; give --benchmark once for each")
    name, given = parsed[0]
    if name not in BENCHMARKS:
        raise SettingError(f"no benchmark {name!r}{did_you_mean(name, BENCHMARKS)}")
    module, _, attribute = BENCHMARKS[name].partition(":")
    kind = getattr(import_module(f"{__name__}.{module}"), attribute)
    known = {field.name for field in dataclasses.fields(kind)}
    for setting in given:
        if setting not in known:
            raise SettingError(f"{name} has no setting {setting!r}{did_you_mean(setting, known)}")
    return kind(**{"n": n, "images": images, "data": data, **given})
