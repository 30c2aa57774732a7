"""The systems of a run: ways of decoding, made from what a user wrote, with their labels."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvlm_saliency.attention.parts import Role
from lvlm_saliency.errors import LvlmSaliencyError, SettingError, did_you_mean
from lvlm_saliency.interventions.base import Method
from lvlm_saliency.interventions.parsing import parse_methods, parse_specs
from lvlm_saliency.interventions.preset_files import is_preset

GREEDY = "greedy"
SAMPLED = "sample"
ALL = "all"
"""Stands for every registered method at its default settings, each as a system of its own."""


@dataclass(frozen=True)
class System:
    """A way of decoding with its name in tables. `methods` is empty for greedy decoding; `optional` marks systems that
    only `all` asked for, which are left out where the model does not fit."""

    label: str
    methods: tuple[Any, ...]
    optional: bool = False

    @property
    def slug(self) -> str:
        """The label as a file name; different labels have different ones."""
        safe = re.sub(r"[^A-Za-z0-9.+=-]+", "_", self.label)[:80]
        return safe if safe == self.label else f"{safe}-{hashlib.sha256(self.label.encode()).hexdigest()[:8]}"

    @property
    def decides(self) -> bool:
        """Whether a method, and not the largest logit, decides each token."""
        return any(_chooses(method) for method in self.methods)

    def record(self) -> list[dict[str, Any]]:
        """Every setting of every method, as JSON values."""
        return [{"name": method.name, **dataclasses.asdict(method)} for method in self.methods]

    @property
    def rows_per_token(self) -> int:
        """Rows that go through the model for one sample's next token: beams and their candidates, 1 otherwise."""
        return max((method.rows_per_token for method in self.methods), default=1)

    @property
    def one_by_one(self) -> bool:
        """Whether the samples of a batch are decoded one after the other and share no pass but the prompt's."""
        return any(method.one_by_one for method in self.methods)


def systems(given: Sequence[Any], seed: int) -> list[System]:
    """Greedy decoding and sampling first, then what was given, each once; `"all"` stands for every registered method.

    Raises:
        SettingError: as `system`.
    """
    from lvlm_saliency.interventions.registry import methods

    found: dict[str, System] = {}
    for one in (GREEDY, SAMPLED, *given):
        if _is_all(one):
            for swept in (system(name, seed) for name in methods()):
                found.setdefault(swept.label, dataclasses.replace(swept, optional=True))
        else:
            check_name(one)
            named = system(one, seed)
            found[named.label] = named  # in the place that `all` gave it, but no longer optional
    return list(found.values())


def served(given: Sequence[System], model: Any) -> tuple[list[System], dict[str, str]]:
    """The systems that `model` can run, and of those that only `all` asked for and it cannot, the reason by label.

    Raises:
        LvlmSaliencyError: a system that was named does not fit the model.
    """
    found, left_out = [], {}
    for one in given:
        try:
            for method in one.methods:
                method.check_model(model)
        except LvlmSaliencyError as error:
            if not one.optional:
                raise
            left_out[one.label] = str(error)
        else:
            found.append(one)
    return found, left_out


def system(given: Any, seed: int) -> System:
    """The system that `given` means: `"sgrs+locore:beta=0.2"`, `{"sgrs": {"alpha": 0.9}, "locore": {}}`, a method
    object, or a list of those that act together. Methods whose own seed is not set draw with `seed`.

    Raises:
        SettingError: an unknown method or setting, a value out of range, or methods that cannot be composed.
    """
    from lvlm_saliency.decoding.loop import composed

    # One order, so that a+b and b+a are one system: first what decides the token, then what edits attention.
    methods = sorted(_methods(given), key=lambda method: (not _chooses(method), method.name))
    label = "+".join(map(_written, methods))
    return System(label or GREEDY, tuple(composed([method.seeded(seed) for method in methods])))


def check_name(given: Any) -> None:
    """Raise SettingError for an unknown name given by itself, with `ALL` among those that may have been meant: for
    places that take `ALL`, which is no method and so unknown to the registry."""
    from lvlm_saliency.interventions.registry import methods

    if not isinstance(given, str) or given == GREEDY or is_preset(given):
        return
    specs = parse_specs(given)
    name, knobs = specs[0]
    if len(specs) == 1 and not knobs and name not in (*methods(), ALL):
        raise SettingError(f"unknown method {name!r}{did_you_mean(name, [*methods(), ALL])}")


def _is_all(given: Any) -> bool:
    return isinstance(given, str) and given.strip().lower() == ALL


def _methods(given: Any) -> list[Any]:
    from lvlm_saliency.interventions.registry import method

    if given == GREEDY:
        return []
    if isinstance(given, str):
        _no_part(name for name, _ in parse_specs(given))
        return parse_methods(given)
    if isinstance(given, Mapping):
        _no_part(given)
        return [method(name, **(settings or {})) for name, settings in given.items()]
    if isinstance(given, Method):
        return [given]
    if isinstance(given, Iterable):
        return [one for part in given for one in _methods(part)]
    raise SettingError(f"{given!r} is no method: give a name with settings, a mapping, or LocoRE(...), SGRS(...)")


def _chooses(method: Method) -> bool:
    """Whether the method chooses each token from the logits, as a search over beams does not."""
    return Role.TOKENS in method.roles and Role.LOOP not in method.roles


def _no_part(names: Iterable[str]) -> None:
    if ALL in names:
        raise SettingError(f"{ALL!r} stands for a system for every method and takes no settings: give it by itself")


def _written(method: Any) -> str:
    """The method as it is written on a command line, with the settings that differ from the defaults."""
    changed = [
        f"{field.name}={_value(getattr(method, field.name))}"
        for field in dataclasses.fields(method)
        if getattr(method, field.name) != field.default
    ]
    return f"{method.name}:{','.join(changed)}" if changed else method.name


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "+".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)  # 1 and 1.0 are one setting
