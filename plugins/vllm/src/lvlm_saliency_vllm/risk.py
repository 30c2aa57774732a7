"""`CausalRisk`: the calibrated risk that a token names what is not in the picture, from what is known as it is chosen.

A file is what lvlm_saliency writes (`RiskModel.save`, safetensors): plain arrays and nothing that runs. This reader is
small and of its own, so that a server needs no other package; it takes files whose features a forward pass gives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lvlm_saliency_vllm.grounding import FED, GROUPS, TokenGrounding, feature_names

KEY, SEAL, FORMAT = "lvlm_saliency_risk", "sha256", 1
_ARRAYS = {
    "logistic": ("weight", "bias"),
    "trees": ("start", "left", "right", "feature", "threshold", "leaf", "root"),
}
_SHARED = ("fill", "mean", "scale", "objects", "calibration")
_WHOLE = ("objects", "start", "left", "right", "feature")


class RiskFileError(ValueError):
    """A file that is no causal risk model, or is damaged; the line says what is wrong."""


@dataclass(frozen=True)
class CausalRisk:
    """A classifier over features of `TokenGrounding`, with its calibration.

    groups, layers: what its F features are read from. kind: "logistic" or "trees"; arrays: by name, as in the file.
    """

    groups: tuple[str, ...]
    layers: tuple[int, ...]
    kind: str
    arrays: Mapping[str, np.ndarray]
    about: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> CausalRisk:
        """Read a file.

        Raises:
            RiskFileError: missing, damaged, of another format, or with features that come only after the token.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="np") as file:
                metadata = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (SafetensorError, OSError, ValueError) as error:
            raise RiskFileError(f"{path} cannot be read as a risk model: {error}") from error
        try:
            head = json.loads(metadata[KEY])
            found = cls(tuple(head["groups"]), tuple(head["layers"]), head["kind"], arrays, head.get("about") or {})
            _check(found, head)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise RiskFileError(f"{path} is no risk model that can be used here: {error}") from error
        if metadata.get(SEAL, sealed := _seal(arrays, metadata)) != sealed:
            raise RiskFileError(f"{path} is damaged: its content is not what was written (SHA-256 differs)")
        return found

    def __call__(self, grounding: TokenGrounding) -> np.ndarray:
        """The risk of every token, float64 `[T]`, 0 to 1.

        It is calibrated for tokens that begin an object word (`names_object`); elsewhere it is an extrapolation. Of a
        model that `waits`, the last token's is final only when the text has ended.
        """
        values = grounding.features(self.groups, self.layers)
        values = np.where(np.isfinite(values), values, self.arrays["fill"])
        values = (values - self.arrays["mean"]) / self.arrays["scale"]
        slope, offset = self.arrays["calibration"].tolist()
        odds = slope * self._log_odds(values) + offset
        return np.exp(np.minimum(odds, 0)) / (1 + np.exp(-np.abs(odds)))  # no overflow on either side

    @property
    def waits(self) -> bool:
        """Whether the risk of a token is known only when the token has been fed, one pass after it was chosen."""
        return any(group in FED for group in self.groups)

    def names_object(self, grounding: TokenGrounding) -> np.ndarray:
        """Which tokens begin a word that was an object word in the training texts, bool `[T]`."""
        return np.isin(np.array(grounding.token_ids, dtype=np.int64), self.arrays["objects"])

    def _log_odds(self, values: np.ndarray) -> np.ndarray:
        nodes = self.arrays
        if self.kind == "logistic":
            return values @ nodes["weight"] + nodes["bias"][0]
        values, rows = values.astype(np.float32), np.arange(len(values))[:, None]
        at = np.broadcast_to(nodes["start"], (len(values), len(nodes["start"]))).copy()
        while (inner := nodes["left"][at] >= 0).any():  # every row walks every tree; a leaf leads to itself
            lower = values[rows, nodes["feature"][at]] <= nodes["threshold"][at]
            at = np.where(inner, np.where(lower, nodes["left"][at], nodes["right"][at]), at)
        return nodes["leaf"][at].sum(axis=1) + nodes["root"][0]


def _check(model: CausalRisk, head: Mapping[str, Any]) -> None:
    """Arrays that fit together and hold finite numbers, so that no prediction can run astray."""
    if head["format"] != FORMAT:
        raise ValueError(f"it is of format {head['format']!r}, and this version reads {FORMAT}")
    if model.kind not in _ARRAYS or not all(type(layer) is int and layer >= 0 for layer in model.layers):
        raise ValueError("its kind or its layers are unknown")
    if later := [group for group in model.groups if group not in GROUPS]:
        raise ValueError(
            f"it reads {', '.join(str(one)[:40] for one in later)}, which forward passes do not know as a text is "
            "written: fit a causal risk model"
        )
    names = [name for group in model.groups for name in feature_names(group, model.layers)]
    if names != head["features"]:
        raise ValueError("its features are not those of this version")
    wanted = (*_SHARED, *_ARRAYS[model.kind])
    if set(model.arrays) != set(wanted):
        raise ValueError(f"its arrays are not {', '.join(wanted)}")
    for name, values in model.arrays.items():
        if values.ndim != 1 or values.dtype.kind not in ("iu" if name in _WHOLE else "f"):
            raise ValueError(f"{name} is {list(values.shape)} of {values.dtype}")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds NaN or infinity")
    lengths = [len(model.arrays[name]) for name in ("fill", "mean", "scale")]
    lengths += [len(model.arrays["weight"])] if model.kind == "logistic" else []
    if set(lengths) != {len(names)} or len(model.arrays["calibration"]) != 2:
        raise ValueError(f"{len(names)} features, and arrays of {lengths}")
    if len(model.arrays["bias" if model.kind == "logistic" else "root"]) != 1 or not (model.arrays["scale"] > 0).all():
        raise ValueError("a bias of more than one number, or a scale that is not above 0")
    if model.kind == "trees":
        _check_trees(model.arrays, len(names))


def _check_trees(arrays: Mapping[str, np.ndarray], width: int) -> None:
    left, right, feature, starts = (arrays[name] for name in ("left", "right", "feature", "start"))
    count, inner, numbers = len(left), left >= 0, np.arange(len(left))
    if {len(arrays[name]) for name in ("right", "feature", "threshold", "leaf")} != {count}:
        raise ValueError("the trees' arrays are of different lengths")
    forward = (left > numbers) & (right > numbers) & (left < count) & (right < count)  # so every walk ends
    known = (feature >= 0) & (feature < width)
    if not ((forward & known) | ~inner).all() or not ((starts >= 0) & (starts < count)).all():
        raise ValueError("a tree's node points nowhere")


def _seal(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """SHA-256 of the arrays and of the metadata but itself, as lvlm_saliency seals its files."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        digest.update(repr((name, values.dtype.str, values.shape)).encode())
        digest.update(memoryview(values.reshape(-1)).cast("B") if values.size else b"")
    digest.update(repr(sorted((key, value) for key, value in metadata.items() if key != SEAL)).encode())
    return digest.hexdigest()
