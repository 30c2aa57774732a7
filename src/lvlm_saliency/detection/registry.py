"""Looks detectors up by name; a detector is imported only when it is asked for."""

from __future__ import annotations

import dataclasses
import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lvlm_saliency.detection.base import Detector
from lvlm_saliency.errors import SettingError, did_you_mean

GROUP = "lvlm_saliency.detectors"
_HOME = "lvlm_saliency.detection"
BUILT_IN = {
    "nll": "nll:NLL",
    "entropy": "entropy:Entropy",
    "margin": "margin:Margin",
    "rauq": "rauq:RAUQ",
    "svar": "svar:SVAR",
    "pas": "pas:PAS",
    "lookback": "lookback:Lookback",
    "ads": "ads:ADS",
    "cgc": "cgc:CGC",
    "internal-confidence": "internal_confidence:InternalConfidence",
    "lens-cosine": "lens_cosine:LensCosine",
    "glsim": "glsim:GLSim",
    "contextual-lens": "contextual_lens:ContextualLens",
    "viser": "viser:VisER",
    "overthinking": "overthinking:Overthinking",
    "inslen": "inslen:InsLen",
    "sadt": "sadt:SADT",
    "output-saliency": "output_saliency:OutputSaliency",
    "previous-saliency": "previous_saliency:PreviousSaliency",
    "image-saliency": "image_saliency:ImageSaliency",
    "risk": "risk:Risk",
    "self-check": "self_check:SelfCheck",
    "lpfv": "lpfv:LPFV",
    "blank-picture": "blank_picture:BlankPicture",
    "metatoken": "metatoken:MetaToken",
    "svar-trained": "svar_trained:SVARTrained",
    "lookback-trained": "lookback_trained:LookbackTrained",
    "ads-trained": "ads_trained:ADSTrained",
    "dhcp": "dhcp:DHCP",
    "haloprobe": "haloprobe:HaloProbe",
    "overthinking-trained": "overthinking_trained:OverthinkingTrained",
    "probe": "probe:Probe",
    "causal-risk": "causal_risk:CausalRisk",
    "grounded-risk": "grounded_risk:GroundedRisk",
}
"""Name to `module:class` of this package, in the order of tables: cheap ones first."""


@functools.cache
def _entries() -> dict[str, EntryPoint]:
    entries = {name: EntryPoint(name, f"{_HOME}.{home}", GROUP) for name, home in BUILT_IN.items()}
    for entry in entry_points(group=GROUP):
        entries.setdefault(entry.name, entry)
    return entries


def detectors() -> list[str]:
    """The registered names; other packages add theirs through the entry-point group `lvlm_saliency.detectors`."""
    return list(_entries())


def detector_class(name: str) -> type[Detector]:
    """The dataclass registered under `name`.

    Raises:
        SettingError: no such detector (the message names the closest).
    """
    entries = _entries()
    if name not in entries:
        raise SettingError(f"unknown detector {name!r}{did_you_mean(name, entries)}")
    return entries[name].load()


def detector(name: str, **settings: Any) -> Detector:
    """The detector registered under `name`, with these settings.

    Raises:
        SettingError: no such detector, no such setting, or a value out of range.
    """
    kind = detector_class(name)
    known = {field.name for field in dataclasses.fields(kind)}
    for setting in settings:
        if setting not in known:
            raise SettingError(f"{name} has no setting {setting!r}{did_you_mean(setting, known)}")
    return kind(**settings)
