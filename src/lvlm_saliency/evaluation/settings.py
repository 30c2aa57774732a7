"""The settings of a run: one dataclass for the command line, a YAML file and Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.files import read_mapping


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `of` parts of every benchmark's items, which are assigned to the parts in turn."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`2/4`; SettingError for anything else."""
        first, slash, second = str(text).partition("/")
        if not (slash and first.strip().isdigit() and second.strip().isdigit() and 1 <= int(first) <= int(second)):
            raise SettingError(f"--shard is {text!r}; write i/k with 1 <= i <= k, for example 1/2")
        return cls(int(first), int(second))

    def __contains__(self, index: int) -> bool:
        return index % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


WHOLE = {
    "n": (1, 10**9),
    "seed": (0, 2**32 - 1),
    "max_new_tokens": (1, 10**6),
    "batch_size": (1, 65_536),
    "resamples": (0, 10**6),
}
"""Settings that are whole numbers, with their least and their largest value."""


@dataclass(frozen=True)
class Settings:
    """A run of `lvlm-saliency evaluate`.

    Args:
        model: "scenes", a hub id or a folder.
        benchmarks: names, with settings where wanted: `pope:images=coco/val2014`.
        methods: what is compared with greedy decoding and sampling, which always run: `"sgrs:alpha=0.9"`,
            `"sgrs+locore"`, method objects, mappings of name to settings, or lists of those; `"all"` stands for every
            registered method at its default settings, less those that cannot serve the model.
        out: the run's folder.
        n: pictures per benchmark (for MME: per task), the first of its list; None for all.
        seed: of every draw.
        max_new_tokens: limit on each answer, for all systems; CHAIR depends on it more than on most methods.
        temperature, top_p: for all systems that sample.
        batch_size: items decoded together; halved when memory runs out. Results do not depend on it.
        shard: `i/k`: only every k-th item, the i-th first. Results do not depend on it.
        images, data: folder of the pictures, folder of a benchmark's official files.
        dtype, device, revision: of the model, as in `load_model`.
        skip_errors: pictures that cannot be read are left out, and counted in every table.
        resamples: bootstrap resamples behind each interval.
    """

    model: str
    benchmarks: Sequence[str]
    out: str | Path
    methods: Sequence[Any] = ()
    n: int | None = None
    seed: int = 0
    max_new_tokens: int = 512
    temperature: float = 1.0
    top_p: float = 1.0
    batch_size: int = 8
    shard: str = "1/1"
    images: str | Path | None = None
    data: str | Path | None = None
    dtype: str = "auto"
    device: str | None = None
    revision: str | None = None
    skip_errors: bool = False
    resamples: int = 2000

    def __post_init__(self) -> None:
        for name in ("benchmarks", "methods"):
            value = getattr(self, name)
            value = (value,) if isinstance(value, (str, Mapping)) else value
            if not isinstance(value, Sequence):
                raise SettingError(f"{name} must be a list, got {value!r}")
            value = tuple(value)
            object.__setattr__(self, name, value)
        self._check_kinds()
        if not self.benchmarks:
            raise SettingError("no benchmark: name at least one, for example --benchmark scenes-caption")
        for name, (low, high) in WHOLE.items():
            value = getattr(self, name)
            if name == "n" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise SettingError(f"{name} must be a whole number of at least {low}, got {value!r}")
            if value > high:
                raise SettingError(f"{name} must be a whole number of at most {high:,}")
        if not _is_number(self.temperature) or not self.temperature > 0:
            raise SettingError(f"temperature must be above 0, got {self.temperature!r}; greedy decoding runs anyway")
        if not 1e-4 <= self.temperature <= 1e4:
            raise SettingError(f"temperature must lie in 0.0001 to 10,000, got {self.temperature!r}")
        if not _is_number(self.top_p) or not 0 < self.top_p <= 1:
            raise SettingError(f"top_p must lie in (0, 1], got {self.top_p!r}")
        Shard.parse(self.shard)

    def _check_kinds(self) -> None:
        """Raise SettingError for a value of another kind than its setting, as a YAML file may hold."""
        for name in ("model", "out", "shard", "images", "data", "dtype", "device", "revision"):
            value = getattr(self, name)
            if not isinstance(value, (str, Path)) and (value is not None or name in ("model", "out", "shard", "dtype")):
                raise SettingError(f"{name} must be text, got {value!r}")
        if not isinstance(self.skip_errors, bool):
            raise SettingError(f"skip_errors must be true or false, got {self.skip_errors!r}")
        if strange := [one for one in self.benchmarks if not isinstance(one, str)]:
            raise SettingError(f"a benchmark must be written as NAME or NAME:SETTING=VALUE, got {strange[0]!r}")

    @property
    def part(self) -> Shard:
        return Shard.parse(self.shard)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from plain values. SettingError for an unknown or missing name."""
        known = {field.name for field in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise SettingError(f"no setting {name!r} of a run{did_you_mean(str(name), known)}")
        for name in ("model", "benchmarks", "out"):
            if not values.get(name):
                option = {"benchmarks": "--benchmark"}.get(name, f"--{name}")
                raise SettingError(f"{name} is missing: give {option}, or {name}: in the YAML file")
        return cls(**values)


def from_file(path: str | Path, given: Mapping[str, Any]) -> Settings:
    """Settings from a YAML file and, before those, from what was `given` beside it.

    Raises:
        InputError: the file cannot be read or is no mapping, or a setting cannot be used; the message names the file.
    """
    try:
        return Settings.from_mapping({**read_yaml(path), **given})
    except SettingError as error:
        raise SettingError(f"{error} (in {path}, or an option beside it)") from error


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file, names with hyphens taken for underscores.

    Raises:
        InputError: the file cannot be read or is no mapping.
    """
    return {name.replace("-", "_"): value for name, value in read_mapping(path).items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
