"""Packed rows: what the page reads back is close to what was written, and small enough."""

from __future__ import annotations

import base64
import gzip

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.report.pack import ROW_BUDGET, dequantise, layer_groups, pack_rows, quantise


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e3))
def test_error_is_below_a_two_hundredth_of_the_rows_maximum(seed, size):
    rows = (size * np.random.default_rng(seed).gamma(0.2, 1, (3, 50))).astype(np.float32)
    read = dequantise(*quantise(rows))
    assert (np.abs(read - rows) <= rows.max(-1, keepdims=True) / 200).all()


def test_zeros_and_nan_read_back_as_zero():
    rows = np.array([[0.0, 0.0], [np.nan, 1.0]], dtype=np.float32)
    assert dequantise(*quantise(rows)).tolist() == [[0, 0], [0, 1]]


@given(st.integers(1, 100), st.integers(1, 10**7))
def test_groups_hold_every_layer_once_within_the_budget(layers, size):
    groups = layer_groups(layers, size)
    assert [layer for group in groups for layer in group] in ([], list(range(layers)))
    assert not groups or (len(groups) + 1) * size <= ROW_BUDGET
    assert groups or 2 * size > ROW_BUDGET


def test_a_large_text_stays_below_ten_megabytes():
    layers, tokens, context = 32, 128, 700
    rows = np.random.default_rng(0).random((layers, tokens, context), dtype=np.float32)
    groups = layer_groups(layers, 2 * tokens * context)
    assert len(groups) == layers
    assert 2 * len(pack_rows(rows, groups)) < 10_000_000


def test_packed_block_is_scales_then_bytes_with_the_mean_first():
    rows = np.zeros((2, 1, 3), dtype=np.float32)
    rows[0, 0], rows[1, 0] = (4, 0, 0), (0, 0, 2)
    data = gzip.decompress(base64.b64decode(pack_rows(rows, [[0], [1]])))
    assert np.frombuffer(data[:12], "<f4").tolist() == [2, 4, 2]
    assert list(data[12:]) == [255, 0, round(255 * 0.5**0.5), 255, 0, 0, 0, 0, 255]
