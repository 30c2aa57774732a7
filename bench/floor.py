"""The physical floor of a decoded token: what must be read over the bandwidth, what must be computed over the peak.

Both limits are measured on the spot: a copy far larger than the caches, and a square matrix product.
"""

from __future__ import annotations

import statistics

import torch

from .models import size
from .timing import seconds_of


def measured(device: str, dtype: torch.dtype, megabytes: int = 1024, width: int = 4096) -> dict[str, float]:
    """Bytes per second of a large copy (read and written bytes counted), and flop/s of a large matrix product."""
    block = torch.ones(megabytes << 20, dtype=torch.uint8, device=device)
    other = torch.empty_like(block)
    a = torch.ones(width, width, dtype=dtype, device=device)
    out = torch.empty_like(a)
    copy = _best(lambda: other.copy_(block))
    product = _best(lambda: torch.mm(a, a, out=out))
    return {"bytes_per_second": 2 * block.numel() / copy, "flops_per_second": 2 * width**3 / product}


def emulated(dtype: torch.dtype, width: int = 1024) -> float:
    """How many times longer than in float32 a matrix product takes on this processor in `dtype`; 0 where it does not:
    processors without instructions for bfloat16 convert each number."""
    seconds = {}
    for kind in (torch.float32, dtype):
        a = torch.ones(width, width, dtype=kind)
        seconds[kind] = _best(lambda a=a: torch.mm(a, a), 2)
    times = seconds[dtype] / seconds[torch.float32]
    return times if times > 2 else 0


def _best(call, repeats: int = 5) -> float:
    call()
    return min(seconds_of(call) for _ in range(repeats))


def of_token(model, limits: dict[str, float], context: int, layers: list[int]) -> dict[str, float]:
    """Milliseconds that one decoded token takes at least, in each way; and of the backward pass through `layers`."""
    parameters, weights = size(model)
    text = model.config.get_text_config()
    groups, heads = text.num_key_value_heads, text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // heads
    element = weights / parameters
    cache = 2 * text.num_hidden_layers * groups * head * context * element
    share = len(layers) / text.num_hidden_layers
    read = (weights + cache) / limits["bytes_per_second"] * 1e3
    computed = (2 * parameters + 4 * text.num_hidden_layers * heads * head * context) / limits["flops_per_second"] * 1e3
    return {
        "weights_megabytes": weights / 1e6,
        "cache_megabytes": cache / 1e6,
        "read_milliseconds": read,
        "compute_milliseconds": computed,
        "sgrs_backward_share": share,
    }


def sentence(model, limits: dict[str, float], context: int, layers: list[int], token_seconds: list[float]) -> str:
    """A sentence that compares the floor with the time of a token of plain generation."""
    at = of_token(model, limits, context, layers)
    took = statistics.median(token_seconds) * 1e3
    least = max(at["read_milliseconds"], at["compute_milliseconds"])
    return (
        f"Floor of a token at {context} tokens of context: {at['weights_megabytes']:.0f} MB of weights and "
        f"{at['cache_megabytes']:.1f} MB of cache at {limits['bytes_per_second'] / 1e9:.1f} GB/s are "
        f"{at['read_milliseconds']:.2f} ms; its arithmetic at {limits['flops_per_second'] / 1e9:.0f} GFLOP/s is "
        f"{at['compute_milliseconds']:.2f} ms. Plain generation took {took:.2f} ms per token, {least / took:.0%} of it "
        "floor."
    )
