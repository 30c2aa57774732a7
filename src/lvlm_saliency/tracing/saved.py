"""A trace as a file: writing, reading, and the checks that a file is a trace."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lvlm_saliency.errors import InputError, SettingError, did_you_mean
from lvlm_saliency.files import parse_json, replacing
from lvlm_saliency.files.tensors import SEAL, check_seal, read_tensors, seal
from lvlm_saliency.model.regions import Regions
from lvlm_saliency.tracing import compact

FORMAT, COMPACT = 1, 2
KEY = "lvlm_saliency_trace"
REGIONS = ("system", "image", "prompt", "output")
_TYPES = {"rows": "float32", "attention": "float32", "logprobs": "float32", "entropy": "float32", "valid": "bool"}
SHEETS = ("rows", "attention")
_LARGEST = 1 + 1e-3
"""Upper bound of the saliency of a unit row and of attention, rounding included."""


def write(path: str | os.PathLike[str], trace: Any, form: str | None = None) -> None:
    """Write a trace atomically, with a digest; `form`: one of `compact.FORMS`, or None. Raises `InputError`."""
    write_sealed(path, *written(trace, form))


def written(trace: Any, form: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a trace's file.

    Raises:
        SettingError: an unknown form.
    """
    if form is not None and form not in compact.FORMS:
        raise SettingError(f"unknown compact={form!r}{did_you_mean(str(form), compact.FORMS)}")
    tensors = {
        name: getattr(trace, name) for name in ("rows", "attention", "sequences", "valid", "logprobs", "entropy")
    }
    tensors |= {f"regions.{name}": getattr(trace.regions, name) for name in REGIONS}
    arrays = {name: values.cpu().numpy() for name, values in tensors.items()}
    about = {"layers": trace.layers, "prompt_length": trace.prompt_length, "settings": trace.settings}
    about |= {} if trace.parts is None else {"parts": trace.parts}
    about |= {} if trace.videos is None else {"videos": trace.videos}
    if form is None:
        return arrays, {KEY: str(FORMAT), "about": json.dumps(about)}
    return _packed(arrays, trace.prompt_length, form), {KEY: str(COMPACT), "about": json.dumps({**about, "form": form})}


def write_sealed(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically, with a digest of its content. Raises `InputError`."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    metadata = {**metadata, SEAL: seal(arrays, metadata)}
    try:
        with replacing(path) as temporary:
            save_file(arrays, str(temporary), metadata=metadata)
    except SafetensorError as error:  # a full disk, for one
        raise InputError(f"cannot write {str(path)!r}: {error}") from error


def read(path: str | Path) -> dict[str, Any]:
    """The fields of a trace, by name.

    Raises:
        InputError: the file is missing, damaged, or not a saved trace.
    """
    arrays, metadata = read_tensors(path, "a trace")
    fields = fields_of(path, arrays, metadata)
    check_seal(path, arrays, metadata)
    return fields


def fields_of(path: str | Path, arrays: dict[str, np.ndarray], metadata: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a trace from the arrays and metadata of the file `path`, checked. Raises `InputError`."""
    if metadata.get(KEY) not in (str(FORMAT), str(COMPACT)):
        raise InputError(f"{path} is not a saved trace of format {FORMAT} or {COMPACT}")
    try:
        about = parse_json(metadata.get("about", ""), finite=False)
        fault = _fault(arrays, about) if metadata[KEY] == str(FORMAT) else _compact_fault(arrays, about)
    except ValueError as error:
        fault = f"its settings are no JSON: {error}"
    if fault:
        raise InputError(f"{path} is damaged: {fault}; make it again")
    if metadata[KEY] == str(COMPACT):
        arrays, about = _expanded(arrays, about)
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    regions = Regions(**{name: tensors.pop(f"regions.{name}") for name in REGIONS})
    if "parts" in about:
        about["parts"] = [[tuple(part) for part in parts] for parts in about["parts"]]
    if "videos" in about:
        about["videos"] = [[tuple(stretch) for stretch in own] for own in about["videos"]]
    return {**tensors, **about, "regions": regions}


def _packed(arrays: Mapping[str, np.ndarray], prompt_length: int, form: str) -> dict[str, np.ndarray]:
    """The arrays, with rows and attention in compact form."""
    cells = _cells(arrays, prompt_length)
    found = {name: values for name, values in arrays.items() if name not in SHEETS}
    for sheet in SHEETS:
        found |= {f"{sheet}.{part}": values for part, values in compact.packed(arrays[sheet], cells, form).items()}
    return found


def _expanded(arrays: Mapping[str, np.ndarray], about: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The inverse of `_packed`."""
    cells = _cells(arrays, about["prompt_length"])
    sheets = {sheet: compact.unpacked(_parts(arrays, sheet), cells) for sheet in SHEETS}
    rest = {name: values for name, values in arrays.items() if not name.startswith(tuple(f"{s}." for s in SHEETS))}
    return {**rest, **sheets}, {name: value for name, value in about.items() if name != "form"}


def _cells(arrays: Mapping[str, np.ndarray], prompt_length: int) -> np.ndarray:
    regions = {name: arrays[f"regions.{name}"] for name in REGIONS}
    return compact.visible(regions, arrays["valid"], prompt_length)


def _parts(arrays: Mapping[str, np.ndarray], sheet: str) -> dict[str, np.ndarray]:
    return {part: arrays[f"{sheet}.{part}"] for part in compact.PARTS}


def _compact_fault(arrays: Mapping[str, np.ndarray], about: Any) -> str:
    """As `_fault`, for a compact file."""
    if not isinstance(about, dict) or about.get("form") not in compact.FORMS:
        return "it does not say in which form its rows are"
    parts = {f"{sheet}.{part}": part for sheet in SHEETS for part in compact.PARTS}
    if missing := sorted(set(parts) - set(arrays)):
        return f"tensors are missing or strange: {missing[:3]}"
    types = {"values": "float16", "scale": "float32"}
    if wrong := [name for name, part in parts.items() if arrays[name].dtype != types[part]]:
        return f"{wrong[0]} is {arrays[wrong[0]].dtype}"
    rest = {name: values for name, values in arrays.items() if name not in parts}
    plain = {name: value for name, value in about.items() if name != "form"}
    if fault := _fault(rest, plain, sheets=()):
        return fault
    cells = _cells(arrays, about["prompt_length"])
    faults = (compact.fault(_parts(arrays, sheet), cells, compact.depth_of(about)) for sheet in SHEETS)
    return next(filter(None, faults), "")


def _fault(arrays: Mapping[str, np.ndarray], about: Any, sheets: Sequence[str] = SHEETS) -> str:
    """What is wrong with these as a trace; "" where nothing is. `sheets`: the arrays that are not in compact form."""
    if not isinstance(about, dict) or set(about) - {"parts", "videos"} != {"layers", "prompt_length", "settings"}:
        return "it does not say its layers, its prompt's length and its settings"
    types = {name: kind for name, kind in _TYPES.items() if name in sheets or name not in SHEETS}
    types |= {"sequences": "int64"} | {f"regions.{name}": "bool" for name in REGIONS}
    if set(arrays) != set(types):
        return f"tensors are missing or strange: {sorted(set(types) ^ set(arrays))[:3]}"
    if wrong := [name for name in types if arrays[name].dtype != types[name]]:
        return f"{wrong[0]} is {arrays[wrong[0]].dtype}, not {types[wrong[0]]}"
    return _shape_fault(arrays, about, sheets) or _value_fault(arrays, sheets)


def _shape_fault(  # noqa: PLR0911
    arrays: Mapping[str, np.ndarray], about: Mapping[str, Any], sheets: Sequence[str]
) -> str:
    layers, start = about["layers"], about["prompt_length"]
    known = isinstance(layers, list) and layers and all(type(n) is int and n >= 0 for n in layers)
    if not known or len(set(layers)) != len(layers):
        return "its layers are no list of different layer numbers"
    if fault := _settings_fault(about["settings"]):
        return fault
    if arrays["sequences"].ndim != 2:
        return f"sequences are {list(arrays['sequences'].shape)}, not [batch, N]"
    batch, length = arrays["sequences"].shape
    if type(start) is not int or not 1 <= start <= length:
        return f"its prompt is {start!r} of {length} tokens"
    count = length - start
    shapes = {
        **dict.fromkeys(sheets, (batch, len(layers), count, length - 1)),
        **dict.fromkeys(("valid", "logprobs", "entropy"), (batch, count)),
        **{f"regions.{name}": (batch, length) for name in REGIONS},
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            return f"{name} is {list(arrays[name].shape)}, not {list(shape)}"
    if not _are_parts(about.get("parts", [[]] * batch), batch, count):
        return "its parts are no parts of its texts"
    return "" if _are_videos(about.get("videos", [[]] * batch), batch, start) else "its videos lie outside its prompts"


def _are_videos(videos: Any, batch: int, start: int) -> bool:
    """Whether these are stretches of each prompt of `start` tokens, one after the other."""
    if not isinstance(videos, list) or not all(isinstance(own, list) for own in videos):
        return False
    if not all(isinstance(stretch, list) for own in videos for stretch in own):
        return False
    return _are_parts([[["video", *stretch] for stretch in own] for own in videos], batch, start)


def _settings_fault(settings: Any) -> str:
    """What keeps these from being a trace's settings; whatever else a caller put there is the caller's own."""
    if not isinstance(settings, dict):
        return "its settings are no mapping"
    methods = settings.get("methods", [])
    if not isinstance(methods, list) or not all(isinstance(method, str) for method in methods):
        return "its methods are no list of texts"
    if settings.get("normalise", "row") not in ("row", "matrix"):
        return "its rows are normalised in no known way"
    return "" if isinstance(settings.get("model", ""), str | None) else "its model's name is no text"


def _are_parts(parts: Any, batch: int, count: int) -> bool:
    """Whether these are consecutive spans of each text."""
    if not isinstance(parts, list) or len(parts) != batch or not all(isinstance(text, list) for text in parts):
        return False
    for text in parts:
        last = 0
        for part in text:
            if not (isinstance(part, list) and len(part) == 3 and isinstance(part[0], str)):
                return False
            if not (type(part[1]) is type(part[2]) is int and last <= part[1] < part[2] <= count):
                return False
            last = part[2]
    return True


def _value_fault(arrays: Mapping[str, np.ndarray], sheets: Sequence[str]) -> str:
    if arrays["sequences"].size and arrays["sequences"].min() < 0:
        return "a token id is below 0"
    for name in sheets:
        values = arrays[name]
        if values.size and not (values.min() >= 0 and values.max() <= _LARGEST):  # NaN is in no range
            return f"{name} hold values outside 0 to 1"
    if np.sum([arrays[f"regions.{name}"] for name in REGIONS], axis=0, dtype=np.int8).max(initial=0) > 1:
        return "its regions overlap"
    valid = arrays["valid"]
    if np.isnan(arrays["logprobs"][valid]).any() or not (arrays["entropy"][valid] > -1e-3).all():
        return "logprobs or entropy are no such numbers"
    if not (arrays["logprobs"][valid] < 1e-3).all() or np.isinf(arrays["entropy"][valid]).any():
        return "logprobs or entropy are no such numbers"
    return ""
