"""Columns of a key/value cache that are moved: each sample keeps its own, whatever the others do."""

from __future__ import annotations

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

from lvlm_saliency.hf import caches


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_samples_slide_as_they_are_realigned(data):
    batch, held = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 8))
    counts = data.draw(st.lists(st.integers(1, held), min_size=batch, max_size=batch))
    old = [data.draw(st.integers(0, held - count)) for count in counts]
    length = data.draw(st.integers(max(counts), held + 3))
    new = [data.draw(st.integers(0, length - count)) for count in counts]
    steps = [after - before for before, after in zip(old, new, strict=True)]
    most = max(set(steps), key=steps.count)
    # The columns of those that move together have to lie within the memory that there is.
    if max(0, -most) + length > held + max(0, most):
        length = held + max(0, most) - max(0, -most)
    assume(all(after + count <= length for after, count in zip(new, counts, strict=True)))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    states = [(torch.randn(batch, 2, held, 3), torch.randn(batch, 2, held, 3)) for _ in range(2)]
    slid, aligned = DynamicCache(), DynamicCache()
    for layer, (keys, values) in enumerate(states):
        slid.update(keys.clone(), values.clone(), layer)
        aligned.update(keys.clone(), values.clone(), layer)
    caches.slide(slid, steps, most, length)
    ends = [before + count for before, count in zip(old, counts, strict=True)]
    caches.realign(aligned, ends, [after + count for after, count in zip(new, counts, strict=True)], length)
    assert slid.get_seq_length() == aligned.get_seq_length() == length
    for layer, (keys, values) in enumerate(states):
        for sample, (before, after, count) in enumerate(zip(old, new, counts, strict=True)):
            here, there = slice(after, after + count), slice(before, before + count)
            for own, first, other in (
                (slid.layers[layer].keys, keys, aligned.layers[layer].keys),
                (slid.layers[layer].values, values, aligned.layers[layer].values),
            ):
                assert torch.equal(own[sample, :, here], first[sample, :, there])
                assert torch.equal(own[sample, :, here], other[sample, :, here])
