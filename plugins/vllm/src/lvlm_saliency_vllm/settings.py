"""What one request asks for, read from `SamplingParams.extra_args` (over HTTP: `vllm_xargs`) and checked.

Over HTTP only numbers, texts and lists of them pass, so the keys are flat. Every fault is one line that names the key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SPACES = ("probability", "unnormalised", "logit")
"""LocoRE's three readings of the paper's Eq. 8-9; see `LocoRE.space`."""

KEYS = ("locore_beta", "locore_window", "locore_layers", "locore_space", "grounding", "grounding_layers")
"""Every key that this plug-in reads. Others that begin with `locore` or `grounding` are refused as slips."""

WIDEST = 4096
"""The largest window that is served: its keys are gathered for every row."""
LONGEST_KEY = 128
"""Characters of the name under which a request's readings are kept."""


class SettingError(ValueError):
    """A request asks for what cannot be served. vLLM's server answers with HTTP 400 and this line."""


@dataclass(frozen=True)
class LocoRE:
    """Attention from each new token to the last few output tokens is made stronger (arXiv 2601.20279, Eq. 8-9).

    For the query at position P of a prompt of n0 tokens, gamma_j = 1 + beta for the generated positions j with
    max(n0, P - window) <= j < P, and 1 elsewhere. The prompt's own rows are never changed.

    Attributes:
        beta: gain on the window, above 0.
        window: how many output tokens before the query are boosted.
        layers: decoder layer numbers to act on; None for all.
        space: "probability" (A' = gamma A, renormalised), "unnormalised" (A' = gamma A as it stands) or "logit"
            (score' = gamma score, before the softmax).
    """

    beta: float
    window: int = 10
    layers: frozenset[int] | None = None
    space: str = "probability"

    def acts_on(self, layer: int) -> bool:
        """Whether this layer's rows are changed."""
        return self.layers is None or layer in self.layers

    @property
    def name(self) -> str:
        """The settings as one line: equal exactly where the settings are."""
        layers = "all" if self.layers is None else ",".join(map(str, sorted(self.layers)))
        return f"locore beta={self.beta!r} window={self.window} layers={layers} space={self.space}"


@dataclass(frozen=True)
class Grounding:
    """Readings of every generated token. key: the name under which the worker keeps them; layers: None for all."""

    key: str
    layers: frozenset[int] | None = None

    def reads(self, layer: int) -> bool:
        """Whether this layer's rows are read."""
        return self.layers is None or layer in self.layers


@dataclass(frozen=True)
class Asked:
    """What one request asks for; either part may be missing."""

    locore: LocoRE | None = None
    grounding: Grounding | None = None

    def __bool__(self) -> bool:
        return self.locore is not None or self.grounding is not None


def asked(extra_args: Mapping[str, Any] | None) -> Asked:
    """The settings in a request's extra arguments; empty where it asks for nothing.

    Raises:
        SettingError: an unknown key, or a value out of range.
    """
    given = {k: v for k, v in (extra_args or {}).items() if str(k).startswith(("locore", "grounding"))}
    for key in given:
        if key not in KEYS:
            raise SettingError(f"{str(key)[:60]!r} is no setting of this plug-in; there are {', '.join(KEYS)}")
    return Asked(_locore(given), _grounding(given))


def _locore(given: Mapping[str, Any]) -> LocoRE | None:
    names = [key for key in given if key.startswith("locore")]
    if not names:
        return None
    if "locore_beta" not in given:
        raise SettingError(f"{names[0]} is given without locore_beta: LocoRE is off until its gain is named")
    beta = _number("locore_beta", given["locore_beta"])
    if not 0 <= beta <= 1e4:
        raise SettingError(f"locore_beta must be a number from 0 to 10000, not {beta!r}")
    window = _whole("locore_window", given.get("locore_window", 10))
    if not 1 <= window <= WIDEST:
        raise SettingError(f"locore_window must be a whole number from 1 to {WIDEST}, not {window}")
    space = given.get("locore_space", "probability")
    if space not in SPACES:
        raise SettingError(f"locore_space must be one of {', '.join(SPACES)}, not {str(space)[:60]!r}")
    layers = _layers("locore_layers", given.get("locore_layers"))
    return LocoRE(beta, window, layers, space) if beta else None


def _grounding(given: Mapping[str, Any]) -> Grounding | None:
    key = given.get("grounding")
    layers = _layers("grounding_layers", given.get("grounding_layers"))
    if key is None:
        if layers is not None:
            raise SettingError("grounding_layers is given without grounding")
        return None
    if not isinstance(key, str) or not 1 <= len(key) <= LONGEST_KEY:
        raise SettingError(
            f"grounding must be a text of 1 to {LONGEST_KEY} characters, the name under which the readings are kept "
            "(lvlm_saliency_vllm.generate and the server make one)"
        )
    return Grounding(key, layers)


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SettingError(f"{key} must be a number, not {str(value)[:60]!r}")
    return float(value)


def _whole(key: str, value: Any) -> int:
    number = _number(key, value)
    if number != int(number):
        raise SettingError(f"{key} must be a whole number, not {number!r}")
    return int(number)


def _layers(key: str, value: Any) -> frozenset[int] | None:
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence) or not value:
        raise SettingError(f"{key} must be a list of layer numbers, not {str(value)[:60]!r}")
    layers = [_whole(key, one) for one in value]
    if min(layers) < 0:
        raise SettingError(f"{key} must be layer numbers from 0, not {min(layers)}")
    return frozenset(layers)


def check_layers(wanted: Asked, known: Sequence[int]) -> None:
    """Compare the layers that a request names with those of the model.

    Raises:
        SettingError: the model has no such layer with attention.
    """
    for key, part in (("locore_layers", wanted.locore), ("grounding_layers", wanted.grounding)):
        missing = sorted(set(() if part is None or part.layers is None else part.layers) - set(known))
        if missing:
            raise SettingError(f"{key} names {missing}, and the model's layers with attention are {sorted(known)}")
