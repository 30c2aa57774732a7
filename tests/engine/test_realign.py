"""Samples of a cache that move by different numbers of columns: each ends where it should, and the rest is empty."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.hf import caches


@given(st.data())
def test_each_sample_stands_where_it_was_put(data):
    batch, held, length = (data.draw(st.integers(1, most)) for most in (5, 9, 11))
    states = torch.arange(1.0, 1 + batch * held).reshape(batch, 1, held, 1).expand(batch, 2, held, 3)
    before = data.draw(st.lists(st.integers(1, held), min_size=batch, max_size=batch))
    together = data.draw(st.integers(-3, 3))
    after = [
        data.draw(st.sampled_from([min(length, max(1, end + together)), data.draw(st.integers(1, length))]))
        for end in before
    ]
    moved = caches._moved(states, before, after, 0, 0, length)
    for sample, (old, new) in enumerate(zip(before, after, strict=True)):
        count = min(old, new)
        expected = torch.zeros(2, length, 3)
        expected[:, new - count : new] = states[sample, :, old - count : old]
        assert torch.equal(moved[sample], expected)
