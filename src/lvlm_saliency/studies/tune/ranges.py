"""Where the settings of a method are looked for: ranges per method, and seeded draws from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.interventions.parsing import parse_specs
from lvlm_saliency.interventions.registry import method, method_class
from lvlm_saliency.model.families import presets


class Range(Protocol):
    """What a setting may be."""

    def draw(self, random: np.random.Generator, layers: Sequence[int]) -> Any:
        """One value; `layers`: the model's layers with attention."""


@dataclass(frozen=True)
class Real:
    """From low to high, uniform in the logarithm where `log`; two significant digits, so that people can read it."""

    low: float
    high: float
    log: bool = False

    def draw(self, random: np.random.Generator, layers: Sequence[int]) -> float:
        ends = np.log([self.low, self.high]) if self.log else (self.low, self.high)
        value = random.uniform(*ends)
        rounded = float(f"{np.exp(value) if self.log else value:.2g}")
        return min(max(rounded, self.low), self.high)


@dataclass(frozen=True)
class Whole:
    """A whole number from low to high, both possible; uniform in the logarithm where `log`."""

    low: int
    high: int
    log: bool = False

    def draw(self, random: np.random.Generator, layers: Sequence[int]) -> int:
        if not self.log:
            return int(random.integers(self.low, self.high + 1))
        value = np.exp(random.uniform(np.log(self.low - 0.5), np.log(self.high + 0.5)))
        return min(max(round(float(value)), self.low), self.high)


@dataclass(frozen=True)
class OneOf:
    """One of several values, each with the same chance."""

    values: tuple[Any, ...]

    def draw(self, random: np.random.Generator, layers: Sequence[int]) -> Any:
        return self.values[random.integers(len(self.values))]


@dataclass(frozen=True)
class Band:
    """Consecutive layers with attention; None (the method's own default) in the share `usual` of all draws."""

    usual: float = 0.4

    def draw(self, random: np.random.Generator, layers: Sequence[int]) -> list[int] | None:
        default = random.random() < self.usual
        first, last = sorted(random.integers(0, len(layers), size=2).tolist())
        return None if default else list(layers[first : last + 1])


RANGES: dict[str, dict[str, Range]] = {
    "locore": {
        "beta": Real(0.05, 2, log=True),
        "window": Whole(2, 64, log=True),
        "layers": Band(),
        "space": OneOf(("probability", "unnormalised", "logit")),
    },
    "sgrs": {
        "alpha": Real(0.05, 1),
        "top_k": Whole(2, 10),
        "max_draws": Whole(2, 5),
        "window": Whole(2, 20, log=True),
        "order": OneOf(("sample", "greedy")),
        "layers": Band(),
    },
    "farsight": {"sigma": Real(0.1, 10, log=True), "layers": Band()},
    "pai": {"alpha": Real(0.05, 1), "gamma": OneOf((1.0, 1.1, 1.2)), "layers": Band()},
    "tame": {"gain": Real(0.2, 1.5), "layers": Band()},
    "vcd": {"alpha": Real(0.1, 2), "beta": Real(0.02, 0.5, log=True), "noise_step": Whole(100, 900)},
}
"""By method. A method of another package brings its own as a class attribute `ranges`, of the same shape."""


def ranges_of(name: str) -> Mapping[str, Range]:
    """The ranges of a registered method.

    Raises:
        SettingError: no such method, or none that has ranges.
    """
    found = RANGES.get(name) or method_class(name).ranges
    if not found:
        raise SettingError(f"{name} has no ranges to look for settings in{did_you_mean(name, RANGES)}")
    return found


@dataclass(frozen=True)
class Space:
    """Methods that act together, some of their settings held, the others to be found.

    text: `locore`, `sgrs+locore` (or `sgrs/locore`), `locore:space=logit` with `space` held.
    """

    text: str

    def __post_init__(self) -> None:
        for name, held in self.parts:
            known = {field.name for field in dataclasses.fields(method_class(name))}
            for setting in held:
                if setting not in known:
                    raise SettingError(f"{name} has no setting {setting!r}{did_you_mean(setting, known)}")
            if not set(ranges_of(name)) - set(held):
                raise SettingError(f"{self.text}: every setting of {name} is held, so nothing is left to find")
        self.usual()  # a value out of range, or methods that do not go together, told before a model is loaded

    @property
    def parts(self) -> list[tuple[str, dict[str, Any]]]:
        """(method, held settings) of each method."""
        return parse_specs(str(self.text).replace("/", "+"))

    def usual(self, model_type: str = "") -> list[Any]:
        """The methods as they stand before tuning: the family's preset for LocoRE, the papers' defaults otherwise."""
        from lvlm_saliency.decoding.loop import composed

        family = presets(model_type)
        known = {"locore": {"beta": family.beta, "window": family.window}}
        return composed([method(name, **(known.get(name, {}) | held)) for name, held in self.parts])

    def draw(self, random: np.random.Generator, layers: Sequence[int]) -> list[Any]:
        """The methods with settings drawn from their ranges."""
        return [
            method(
                name, **{key: r.draw(random, layers) for key, r in ranges_of(name).items() if key not in held}, **held
            )
            for name, held in self.parts
        ]
