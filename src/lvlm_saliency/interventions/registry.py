"""Looks methods up by name; a method is imported only when it is asked for."""

from __future__ import annotations

import dataclasses
import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.interventions.base import Method
from lvlm_saliency.interventions.table import BUILT_IN

GROUP = "lvlm_saliency.methods"


@functools.cache
def _entries() -> dict[str, EntryPoint]:
    entries = {name: EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items()}
    for entry in entry_points(group=GROUP):
        entries.setdefault(entry.name, entry)
    return entries


def methods() -> list[str]:
    """The registered names, sorted."""
    return sorted(_entries())


def method_class(name: str) -> type[Method]:
    """The dataclass registered under `name`.

    Raises:
        SettingError: no such method (the message names the closest), or what another package registered is none.
    """
    entries = _entries()
    if name not in entries:
        raise SettingError(f"unknown method {name!r}{did_you_mean(name, entries)}")
    kind = entries[name].load()
    if not (isinstance(kind, type) and issubclass(kind, Method) and dataclasses.is_dataclass(kind)):
        raise SettingError(
            f"the entry point {name!r} is no method: it must name a dataclass that subclasses "
            "lvlm_saliency.interventions.base.Method"
        )
    return kind


def method(name: str, **settings: Any) -> Method:
    """The method registered under `name`, with these settings.

    Raises:
        SettingError: no such method, no such setting, or a value out of range.
    """
    kind = method_class(name)
    known = {field.name for field in dataclasses.fields(kind)}  # `method_class` has looked
    for setting in settings:
        if setting not in known:
            raise SettingError(f"{name} has no setting {setting!r}{did_you_mean(setting, known)}")
    return kind(**settings)
