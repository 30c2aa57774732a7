"""The Triton kernel of the FlashAttention path in its interpreter, against the merge in torch."""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported: no card is needed

import pytest
import torch

from lvlm_saliency_vllm import merge, window_kernel


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("softcap", "sliding"), [(0.0, 0), (4.0, 0), (0.0, 9)])
@pytest.mark.parametrize(("heads", "groups", "dim"), [(4, 2, 32), (3, 3, 80)])
def test_the_kernel_is_the_merge(dtype, softcap, sliding, heads, groups, dim):
    random = torch.Generator().manual_seed(heads)
    size, requests, tokens = 16, 3, 7
    keys, values = (torch.randn(24, size, groups, dim, generator=random).to(dtype) for _ in range(2))
    table = torch.randperm(24, generator=random).view(requests, 8).int()
    q, out = (torch.randn(tokens, heads, dim, generator=random).to(dtype) for _ in range(2))
    lse = torch.randn(heads, tokens, generator=random) + 3
    token = torch.tensor([6, 0, 3, 5, 1], dtype=torch.int32)
    request = torch.tensor([0, 1, 1, 2, 0], dtype=torch.int32)
    position = torch.tensor([120, 50, 51, 20, 90], dtype=torch.int32)
    prompt = torch.tensor([30, 45, 45, 20, 3], dtype=torch.int32)  # the fourth has no window
    window = torch.tensor([40, 10, 3, 10, 5], dtype=torch.int32)
    beta, renormalised = torch.tensor([1.5, 0.3, 2.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])
    ints, floats = torch.stack([token, request, position, prompt, window]), torch.stack([beta, renormalised])

    rows = token.long()
    o_window, lse_window = merge.window_attention(
        q[rows],
        keys,
        values,
        table[request.long()],
        position.long(),
        prompt.long(),
        window.long(),
        40,
        dim**-0.5,
        softcap,
        sliding,
    )
    want = out.clone()
    new = merge.strengthened(out[rows].float(), lse[:, rows].T, o_window, lse_window, beta, renormalised > 0)
    want[rows] = new.to(dtype)

    got = out.clone()
    window_kernel.merge_window(q, keys, values, got, lse, table, ints, floats, dim**-0.5, softcap, sliding)
    tight = dtype == torch.float32
    torch.testing.assert_close(got, want, atol=2e-6 if tight else 2e-2, rtol=1e-5 if tight else 1e-2)
    for untouched in (2, 4, 5, 1):  # two that nobody named, one with no window, one with a gain of 0
        assert torch.equal(got[untouched], out[untouched])
    assert not torch.equal(got[6], out[6])
