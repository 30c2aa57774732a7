"""The compact form of a trace's rows: half precision, only the cells that a query can see, of every layer or of their
mean.

A row is stored in units of its largest value, which is kept beside it in float32, so that half precision represents
small rows as well as large ones. Cells to the right of the query or on padding are not stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lvlm_saliency.errors import InputError

FORMS = ("half", "mean")
PARTS = ("values", "scale")
"""Names of what a compact file holds for rows and for attention: float16 `[cells]`, and float32 scales
`[batch, layers, T]`."""


def visible(regions: Mapping[str, np.ndarray], valid: np.ndarray, prompt_length: int) -> np.ndarray:
    """Which cells a query can see: bool `[batch, T, N - 1]`.

    Args:
        regions: bool `[batch, N]` each; positions in none of them are padding.
        valid: bool `[batch, T]`, False past a sample's end of text.
        prompt_length: n0.
    """
    known = np.logical_or.reduce([np.asarray(members) for members in regions.values()])[:, :-1]
    count = valid.shape[1]
    keys = np.arange(known.shape[1])
    queries = np.arange(prompt_length - 1, prompt_length - 1 + count)[:, None]
    cells: np.ndarray = valid[:, :, None] & known[:, None] & (keys <= queries)
    return cells


def packed(rows: np.ndarray, cells: np.ndarray, form: str) -> dict[str, np.ndarray]:
    """Rows float32 `[batch, layers, T, N - 1]` in compact form, by the names of `PARTS`.

    Raises:
        InputError: a row is not zero where its query cannot see.
    """
    if form == "mean":
        rows = rows.mean(axis=1, keepdims=True, dtype=np.float32)
    scale = rows.max(axis=-1, initial=0.0).astype(np.float32)
    unit = np.where(scale > 0, scale, 1.0)
    values = []
    for sample, inside in enumerate(cells):
        for layer in range(rows.shape[1]):
            sheet = rows[sample, layer]
            kept = sheet[inside]
            if np.count_nonzero(kept) != np.count_nonzero(sheet):
                raise InputError("the trace holds values where a token cannot see: save it without compact=")
            values.append(
                (kept / np.broadcast_to(unit[sample, layer][:, None], sheet.shape)[inside]).astype(np.float16)
            )
    return {"values": np.concatenate([np.empty(0, np.float16), *values]), "scale": scale}


def unpacked(parts: Mapping[str, np.ndarray], cells: np.ndarray) -> np.ndarray:
    """The inverse of `packed`: float32 `[batch, layers, T, N - 1]`."""
    scale, values = parts["scale"], parts["values"]
    rows = np.zeros((*scale.shape, cells.shape[-1]), np.float32)
    start = 0
    for sample, inside in enumerate(cells):
        end = int(np.count_nonzero(inside))
        for layer in range(scale.shape[1]):
            rows[sample, layer][inside] = values[start : start + end]
            start += end
    rows *= scale[..., None]
    return rows


def fault(parts: Mapping[str, np.ndarray], cells: np.ndarray, depth: int) -> str:
    """What is wrong with these parts as rows of `depth` layers; "" where nothing is."""
    scale, values = parts["scale"], parts["values"]
    if scale.shape != (len(cells), depth, cells.shape[1]):
        return f"its scales are {list(scale.shape)}, not {[len(cells), depth, cells.shape[1]]}"
    if values.shape != (depth * np.count_nonzero(cells),):
        return f"{values.size} values for {depth * np.count_nonzero(cells)} cells"
    for name, found in parts.items():
        if found.size and not (found.min() >= 0 and found.max() <= 1 + 1e-3):  # NaN is in no range
            return f"its {name} lie outside 0 to 1"
    return ""


def depth_of(about: Mapping[str, Any]) -> int:
    """How many layers' rows a file holds."""
    return 1 if about["form"] == "mean" else len(about["layers"])
