"""The GPU table, in one call of under 8 minutes on one card: `python -m bench.gpu` (torch and transformers only).

Random weights at the real shapes of LLaVA-1.5-7B and of a 7B Qwen2.5-VL decoder, and the largest decoder that fits.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

import lvlm_saliency as ls

from . import cases
from .models import made, prompt, random_llava, size
from .report import write
from .timing import Row


def llava_7b():
    return random_llava(32, 4096, 32, 11008, device="cuda", tower=(23, 1024))


def qwen(layers: int, width: int, heads: int, groups: int, hidden: int):
    """The decoder of a Qwen2.5 of this shape, bfloat16, on the card."""
    config = Qwen2Config(
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        vocab_size=152064,
        max_position_embeddings=32768,
        tie_word_embeddings=False,
    )
    return made(Qwen2ForCausalLM, config, torch.bfloat16, "cuda")


def text_prompt(model, length: int = 620) -> dict:
    ids = torch.randint(5, 1000, (1, length), device="cuda")
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def floor(model, inputs, tokens: int) -> dict:
    """What one decoded token must read at least, and the time that takes at the bandwidth measured on this card."""
    block = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    other = torch.empty_like(block)
    other.copy_(block)
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(20):
        other.copy_(block)
    torch.cuda.synchronize()
    bandwidth = 2 * 20 * block.numel() / (time.perf_counter() - begin)
    return {"gigabytes_per_second": bandwidth / 1e9, "milliseconds_per_token_floor": size(model)[1] / bandwidth * 1e3}


def memory(model, inputs, tokens: int = 24) -> list[Row]:
    """Extra peak memory of SGRS over plain generation, as a share of model and cache."""
    peaks = {}
    for name, methods in (("plain", []), ("sgrs", [ls.SGRS(alpha=0.6, seed=0, layers=cases.upper_half(model))])):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        cases.ours(model, inputs, methods, tokens, do_sample=True)
        peaks[name] = torch.cuda.max_memory_allocated()
    extra = peaks["sgrs"] / peaks["plain"] - 1
    ratio = 1 + extra
    return [
        Row(
            "SGRS peak memory",
            "plain generate",
            "at most 3 % on top",
            ratio,
            ratio,
            ratio,
            1,
            0.0,
            extra <= 0.03,
            peaks,
        )
    ]


def measure(model, inputs, pairs: int, definition: bool) -> list[Row]:
    rows = [
        *cases.trace_after_generation(model, inputs, 60, pairs, 0.05),
        *cases.decoding(model, inputs, 60, pairs),
        *cases.sgrs(model, inputs, 60, pairs, alphas=(0.0, 0.5, 0.6)),
        *memory(model, inputs),
    ]
    if definition:
        rows = [*cases.trace_against_definition(model, inputs, 60, 4, 2), *rows]
    rows[0].notes |= floor(model, inputs, 60)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    tables = {}
    model = llava_7b()
    tables["LLaVA-1.5-7B, random weights, bfloat16"] = measure(model, prompt(model), options.pairs, True)
    del model
    model = qwen(28, 3584, 28, 4, 18944)
    tables["Qwen2.5-VL-7B decoder, random weights, bfloat16"] = measure(model, text_prompt(model), options.pairs, False)
    del model
    model = qwen(64, 5120, 40, 8, 27648)
    inputs = text_prompt(model)
    tables["32B decoder, random weights, bfloat16"] = [
        *cases.sgrs(model, inputs, 24, 1, alphas=(0.6,)),
        *memory(model, inputs),
    ]
    print(write(options.out, "gpu", torch.cuda.get_device_name(), tables))


if __name__ == "__main__":
    main()
