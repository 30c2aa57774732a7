"""The file of a risk model: arrays and what they mean, sealed; whatever it says is checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import parse_json, write_bytes
from lvlm_saliency.files.kinds import is_whole
from lvlm_saliency.files.tensors import SEAL, check_seal, in_order, read_tensors, seal

FORMAT = 1
KEY = "lvlm_saliency_risk"
KINDS = {
    "logistic": ("weight", "bias"),
    "trees": ("start", "left", "right", "feature", "threshold", "leaf", "root"),
}
"""The arrays of each kind of classifier."""
WHOLE = ("objects", "start", "left", "right", "feature")
"""Arrays of whole numbers; the others are floating-point."""


def write(model: Any, path: str | Path) -> None:
    """Write a `RiskModel` as one safetensors file; the same model gives the same bytes."""
    write_bytes(path, as_bytes(model))


def as_bytes(model: Any) -> bytes:
    """The file of a `RiskModel`."""
    from safetensors.numpy import save

    numbers = {"fill": model.fill, "mean": model.mean, "scale": model.scale, "objects": model.objects, **model.arrays}
    numbers["calibration"] = np.array([model.slope, model.offset])
    if len(model.bends):
        numbers["bends"] = model.bends
    head = {"groups": model.groups, "layers": model.layers, "features": model.features, "kind": model.kind}
    arrays = {name: np.ascontiguousarray(values) for name, values in numbers.items()}
    metadata = {KEY: json.dumps({"format": FORMAT, **head, "about": model.about})}
    return in_order(save(arrays, metadata={**metadata, SEAL: seal(arrays, metadata)}))


def read(path: str | Path) -> dict[str, Any]:
    """The fields of the `RiskModel` that `write` wrote.

    Raises:
        InputError: the file is missing, damaged, of another format, or no risk model.
    """
    numbers, metadata = read_tensors(path, "a risk model")
    if KEY not in metadata:
        raise InputError(f"{path} is no risk model: lvlm-saliency study detect writes one (risk.safetensors)")
    try:
        head = parse_json(metadata[KEY])
        written = head["format"]
        found = _checked(head, numbers) if written == FORMAT else None
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path} is damaged: {error!r}; train the risk model again") from error
    if found is None:
        raise InputError(f"{path} is a risk model of format {written}, and this version reads {FORMAT}")
    check_seal(path, numbers, metadata)
    return found


def _checked(head: dict[str, Any], numbers: dict[str, np.ndarray]) -> dict[str, Any]:
    """The fields that a file gives, checked: its arrays fit together and hold finite numbers."""
    _check_head(head)
    width, kind = len(head["features"]), head["kind"]
    arrays = {name: numbers[name] for name in KINDS[kind]}
    shared = ("fill", "mean", "scale", "objects", "calibration", *(["bends"] if "bends" in numbers else []))
    if strange := set(numbers) - {*shared, *arrays}:
        raise ValueError(f"an array that no {kind} model has: {sorted(strange)[0]!r}")
    for name, values in {**{name: numbers[name] for name in shared}, **arrays}.items():
        if values.ndim != 1 or values.dtype.kind not in ("iu" if name in WHOLE else "f"):
            raise ValueError(f"{name} is {list(values.shape)} of {values.dtype}")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds NaN or infinity")
    slope, offset = numbers["calibration"].tolist()
    lengths = [len(numbers[name]) for name in ("fill", "mean", "scale")]
    if kind == "logistic":
        lengths.append(len(arrays["weight"]))
    else:
        _check_trees(arrays, width)
    if set(lengths) != {width} or len(arrays["bias" if kind == "logistic" else "root"]) != 1:
        raise ValueError(f"{width} features, and arrays of {lengths}")
    if not (numbers["scale"] > 0).all() or not (numbers["objects"] >= 0).all() or slope == 0:
        raise ValueError("a scale or the calibration's slope that is 0, or a scale or an object's token below 0")
    bends = numbers.get("bends", np.zeros(0))
    if "bends" in numbers and not _rises(slope, bends):
        raise ValueError("the calibration's bends are no pairs of rising knots and of changes that leave it rising")
    return dict(
        groups=tuple(head["groups"]),
        layers=tuple(head["layers"]),
        features=tuple(head["features"]),
        **{name: numbers[name] for name in ("fill", "mean", "scale", "objects")},
        kind=kind,
        arrays=arrays,
        slope=slope,
        offset=offset,
        about=head["about"],
        bends=bends,
    )


def _rises(slope: float, bends: np.ndarray) -> bool:
    """Whether a calibration's line rises everywhere, knots in order."""
    if not len(bends) or len(bends) % 2:
        return False
    return bool((np.diff(bends[::2]) > 0).all() and (slope + np.cumsum([0.0, *bends[1::2]]) > 0).all())


def _check_head(head: Mapping[str, Any]) -> None:
    for name in ("groups", "features"):
        if not isinstance(head[name], list) or not all(isinstance(one, str) for one in head[name]):
            raise ValueError(f"{name} are no list of names")
    if not isinstance(head["layers"], list) or not all(type(one) is int and one >= 0 for one in head["layers"]):
        raise ValueError("layers are no list of layer numbers")
    if not isinstance(head["kind"], str) or not isinstance(head["about"], dict):
        raise ValueError("kind is no name, or about no mapping")
    known = head["about"].get("architecture")
    if known is not None and not _is_architecture(known):
        raise ValueError("its architecture is none")
    if known is not None and not set(head["layers"]) <= set(known["layers"]):
        raise ValueError(f"layers {head['layers']} of a model that has {known['layers']}")


def _is_architecture(known: Any) -> bool:
    """Whether this is what `architecture` gives."""
    if not isinstance(known, dict) or set(known) != {"class", "layers", "width", "words"}:
        return False
    layers = known["layers"]
    return (
        isinstance(known["class"], str)
        and isinstance(layers, list)
        and all(map(is_whole, (*layers, known["width"], known["words"])))
    )


def _check_trees(arrays: Mapping[str, np.ndarray], width: int) -> None:
    left, right = arrays["left"], arrays["right"]
    count, inner, numbers = len(left), left >= 0, np.arange(len(left))
    if {len(arrays[name]) for name in ("right", "feature", "threshold", "leaf")} != {count}:
        raise ValueError("the trees' arrays are of different lengths")
    # A child has a larger number than its parent, so every descent ends.
    forward = (left > numbers) & (right > numbers) & (left < count) & (right < count)
    known = (arrays["feature"] >= 0) & (arrays["feature"] < width)
    starts = arrays["start"]
    if not (forward | ~inner).all() or not (known | ~inner).all() or not ((starts >= 0) & (starts < count)).all():
        raise ValueError("a tree's node points nowhere")
