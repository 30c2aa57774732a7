"""From what a user wrote to a benchmark that `evaluate` can run."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path

from lvlm_saliency.benchmarks.base import Benchmark, check_limit
from lvlm_saliency.benchmarks.registry import runnable, spec
from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.interventions.parsing import parse_specs


def open_benchmark(
    given: str, *, n: int | None = None, images: str | Path | None = None, data: str | Path | None = None
) -> Benchmark:
    """The benchmark that `given` names, as in `pope:images=coco/val2014,parser=opera`; its own settings go first.

    Raises:
        SettingError: an unknown benchmark or setting, or a value that is not allowed.
    """
    parsed = parse_specs(given)
    if len(parsed) != 1:
        raise SettingError(f"{given!r} names several benchmarks; give --benchmark once for each")
    name, settings = parsed[0]
    if name not in runnable():
        raise SettingError(f"no benchmark {name!r}{did_you_mean(name, runnable())}")
    module, _, attribute = spec(name).adapter.partition(":")
    kind = getattr(import_module(module), attribute)
    known = {field.name for field in dataclasses.fields(kind)}
    for setting in settings:
        if setting not in known:
            raise SettingError(f"{name} has no setting {setting!r}{did_you_mean(setting, known)}")
    opened = kind(**{"n": n, "images": images, "data": data, **settings})
    check_limit(opened)
    return opened
