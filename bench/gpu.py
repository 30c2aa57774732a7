"""The GPU table, in one call of under 8 minutes on one card: `python -m bench.gpu` (torch and transformers only).

Random weights at the real shapes of LLaVA-1.5-7B and of a 7B Qwen2.5-VL decoder, and the largest decoder that fits.
`--tiny` walks the same path with shapes of a toy, on whatever device there is: to see that it runs.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

import lvlm_saliency as ls

from . import cases, floor, traces
from .curve import curve
from .models import made, prompt, random_llava
from .report import Results
from .timing import Row, seconds_of

GIGABYTE = 2**30


def qwen(layers: int, width: int, heads: int, groups: int, hidden: int, device: str, vocabulary: int = 152064):
    """The decoder of a Qwen2.5 of this shape, bfloat16."""
    config = Qwen2Config(
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        vocab_size=vocabulary,
        max_position_embeddings=32768,
        tie_word_embeddings=False,
    )
    return made(Qwen2ForCausalLM, config, torch.bfloat16, device)


def text_prompt(model, length: int) -> dict:
    ids = torch.randint(5, 1000, (1, length), device=model.device)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def memory(model, inputs, tokens: int = 24) -> list[Row]:
    """Extra peak memory of SGRS over plain generation, as a share of model and cache."""
    if not torch.cuda.is_available():
        return []
    peaks = {}
    layers = cases.upper_half(model)
    for name, methods in (
        ("plain", []),
        ("stepwise", [ls.SGRS(alpha=0.6, seed=0, layers=layers, execution="stepwise")]),
        ("auto", [ls.SGRS(alpha=0.6, seed=0, layers=layers)]),
    ):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        cases.ours(model, inputs, methods, tokens, do_sample=True)
        peaks[name] = torch.cuda.max_memory_allocated()
    extra = max(peaks.values()) / peaks["plain"] - 1
    goal = "at most 3 % on top"
    return [Row("SGRS peak memory", "plain generate", goal, *[1 + extra] * 3, 1, 0.0, extra <= 0.03, peaks)]


def measure(model, inputs, tokens: int, pairs: int, definition: bool) -> list[Row]:
    rows = [
        *traces.trace_after_generation(model, inputs, tokens, pairs, 0.05),
        *cases.decoding(model, inputs, tokens, pairs),
        *cases.sgrs(model, inputs, tokens, pairs, alphas=(0.0, 0.4, 0.6)),
        *memory(model, inputs),
    ]
    return [*traces.trace_against_definition(model, inputs, tokens, 4, 1), *rows] if definition else rows


def remark(model, inputs, tokens: int, limits: dict[str, float]) -> str:
    """What plain generation takes per token beyond the first, beside its physical floor."""
    taken = []
    for _ in range(2):
        first = seconds_of(lambda: cases.plain(model, inputs, 1, do_sample=False))
        whole = seconds_of(lambda: cases.plain(model, inputs, tokens, do_sample=False))
        taken.append((whole - first) / (tokens - 1))
    context = inputs["input_ids"].shape[1] + tokens // 2
    return floor.sentence(model, limits, context, cases.upper_half(model), taken)


def freed() -> None:
    """Free the GPU memory of a model that is no longer referenced."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="the same path with toy shapes, on any device")
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.tiny:
        sys.exit("bench.gpu needs a CUDA device; --tiny walks the same path without one")
    tiny, begin = options.tiny, time.perf_counter()
    tokens, short, length = (6, 4, 20) if tiny else (60, 24, 620)
    limits = floor.measured(device, torch.bfloat16, 8 if tiny else 1024, 64 if tiny else 8192)
    name = torch.cuda.get_device_name() if device == "cuda" else "no card (toy shapes)"
    results = Results(options.out, name)

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - begin:4.0f} s] {text}", file=sys.stderr, flush=True)

    def table(title: str, model, inputs, definition: bool) -> None:
        say(title)
        rows = results.tables[title] = measure(model, inputs, tokens, options.pairs, definition)
        results.remarks[title] = remark(model, inputs, tokens, limits)
        name = title.split(",", maxsplit=1)[0]
        results.plots[name] = curve(f"SGRS / sampled generation, {title}", 0.5, cases.curve_of(rows))
        results.write()

    shape = (2, 64, 4, 128) if tiny else (32, 4096, 32, 11008)
    model = random_llava(*shape, device=device, tower=(2, 64) if tiny else (23, 1024))
    table("LLaVA-1.5-7B, random weights, bfloat16", model, prompt(model), True)
    del model
    freed()
    model = qwen(*((2, 64, 4, 2, 128) if tiny else (28, 3584, 28, 4, 18944)), device)
    table("Qwen2.5-VL-7B decoder, random weights, bfloat16", model, text_prompt(model, length), False)
    del model
    freed()
    room = torch.cuda.mem_get_info()[0] if device == "cuda" else 80 * GIGABYTE
    if room > 70 * GIGABYTE:
        say("32B")
        model = qwen(*((2, 64, 4, 2, 128) if tiny else (64, 5120, 40, 8, 27648)), device)
        inputs = text_prompt(model, length)
        title = "32B decoder, random weights, bfloat16"
        results.tables[title] = [*cases.sgrs(model, inputs, short, 1, alphas=(0.6,)), *memory(model, inputs)]
        results.remarks[title] = remark(model, inputs, short, limits)
    else:
        say(f"32B left out: {room / GIGABYTE:.0f} GiB free, 70 needed")
    say("done")
    print(results.write())


if __name__ == "__main__":
    main()
