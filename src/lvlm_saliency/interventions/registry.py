"""Names to methods, without importing a method before it is asked for."""

from __future__ import annotations

import dataclasses
import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lvlm_saliency.errors import SettingError, did_you_mean

GROUP = "lvlm_saliency.methods"
BUILT_IN = {
    "beam": "lvlm_saliency.interventions.beam:Beam",
    "causalmm": "lvlm_saliency.interventions.causalmm:CausalMM",
    "dola": "lvlm_saliency.interventions.dola:DoLa",
    "dopra": "lvlm_saliency.interventions.dopra:DOPRA",
    "eah": "lvlm_saliency.interventions.eah:EAH",
    "farsight": "lvlm_saliency.interventions.farsight:FarSight",
    "icd": "lvlm_saliency.interventions.icd:ICD",
    "locore": "lvlm_saliency.interventions.locore:LocoRE",
    "memvr": "lvlm_saliency.interventions.memvr:MemVR",
    "opera": "lvlm_saliency.interventions.opera:OPERA",
    "pai": "lvlm_saliency.interventions.pai:PAI",
    "sample": "lvlm_saliency.interventions.sampling:Sampling",
    "sgrs": "lvlm_saliency.interventions.sgrs:SGRS",
    "tame": "lvlm_saliency.interventions.tame:TAME",
    "vcd": "lvlm_saliency.interventions.vcd:VCD",
}


@functools.cache
def _entries() -> dict[str, EntryPoint]:
    entries = {name: EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items()}
    for entry in entry_points(group=GROUP):
        entries.setdefault(entry.name, entry)
    return entries


def methods() -> list[str]:
    """The registered names, sorted."""
    return sorted(_entries())


def method_class(name: str) -> type:
    """The dataclass registered under `name`.

    Raises:
        SettingError: no such method (the message names the closest).
    """
    entries = _entries()
    if name not in entries:
        raise SettingError(f"unknown method {name!r}{did_you_mean(name, entries)}")
    return entries[name].load()


def method(name: str, **settings: Any):
    """The method registered under `name`, with these settings.

    Raises:
        SettingError: no such method, no such setting, or a value out of range.
    """
    kind = method_class(name)
    known = {field.name for field in dataclasses.fields(kind)}
    for setting in settings:
        if setting not in known:
            raise SettingError(f"{name} has no setting {setting!r}{did_you_mean(setting, known)}")
    return kind(**settings)
