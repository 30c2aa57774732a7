"""Compresses the rows of a trace for one HTML file.

A row (one token in one layer, over the earlier positions) is stored as one byte per position and one float32 scale:
`value = scale * (byte / 255)^2`. The square gives the finest steps near zero, where most values of a row lie; the error
is at most `scale / 255`, where `scale` is the row's largest value. Blocks are gzipped and base64-encoded; the page
unpacks a text's block when it is first shown. Scores are not quantised: they are stored as float32.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence

import numpy as np

ROW_BUDGET = 6_000_000


def layer_groups(n_layers: int, bytes_per_layer: int, budget: int = ROW_BUDGET) -> list[list[int]]:
    """Indices of layers that share one stored row: one layer each if that fits into `budget`, else neighbours together.

    The mean over all layers is always stored too, and counts towards the budget.
    """
    affordable = max(budget // max(bytes_per_layer, 1) - 1, 0)
    if not n_layers or not affordable:
        return []
    width = -(-n_layers // affordable)
    return [list(range(first, min(first + width, n_layers))) for first in range(0, n_layers, width)]


def quantise(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows [..., K] >= 0 as bytes [..., K] and scales [...]; NaN counts as zero."""
    rows = np.nan_to_num(rows, nan=0.0).astype(np.float32)
    scale = rows.max(axis=-1, initial=0.0)
    share = rows / np.where(scale > 0, scale, 1.0)[..., None]
    return np.rint(255 * np.sqrt(share)).astype(np.uint8), scale.astype(np.float32)


def dequantise(data: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The inverse of `quantise`, as the page computes it."""
    return scale[..., None] * (data.astype(np.float32) / 255) ** 2


def pack_rows(rows: np.ndarray, groups: Sequence[Sequence[int]]) -> str:
    """[layers, T, K] -> base64 of gzip of: the scales (float32), then the bytes, of the mean and of every group."""
    views = np.stack([rows.mean(axis=0), *(rows[list(group)].mean(axis=0) for group in groups)])
    data, scale = quantise(views)
    return encode(gzip.compress(scale.tobytes() + data.tobytes(), compresslevel=6, mtime=0))


def pack_floats(values: np.ndarray) -> str:
    """Base64 of little-endian float32."""
    return encode(np.ascontiguousarray(values, dtype="<f4").tobytes())


def encode(data: bytes) -> str:
    """Base64 text."""
    return base64.b64encode(data).decode("ascii")
