"""Find and prevent hallucinated words in what vision-language models write.

Importing this package imports neither torch nor transformers; a name that needs them does, when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lvlm_saliency.interventions.table import BUILT_IN

__version__ = "0.1.0"

_HOMES = {
    "generate": "decoding.loop",
    "GenerateOutput": "model.output",
    "annotate": "annotation.run",
    "AnnotateSettings": "annotation.settings",
    "Answer": "chat.answer",
    "Chat": "chat.model",
    "Explanation": "chat.explanation",
    "Message": "chat.query",
    "Query": "chat.query",
    "RiskModel": "risk.model",
    "SaliencyTrace": "tracing.result",
    "image_layouts": "model.layout",
    "ImageLayout": "model.layout",
    "build_inputs": "model.load",
    "Detector": "detection.base",
    "detector": "detection.registry",
    "detectors": "detection.registry",
    "Mention": "detection.mention",
    "Reading": "detection.reading",
    "reading": "detection.capture",
    "check": "checks",
    "CheckReport": "checks",
    "load_model": "model.load",
    "load_preset": "interventions.preset_files",
    "method": "interventions.registry",
    "methods": "interventions.registry",
    "open_image": "model.images",
    "open_video": "model.video_files",
    "token_regions": "model.regions",
    "trace": "tracing.one_pass",
    "Video": "model.video",
    "video_layouts": "model.layout",
    "VideoLayout": "model.layout",
    **{value.partition(":")[2]: value.partition(":")[0].removeprefix(f"{__name__}.") for value in BUILT_IN.values()},
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
