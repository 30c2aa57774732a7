"""Peak memory of decoding, in a process of its own: `python -m bench.memory sgrs 24 2 bfloat16`.

The peak is counted from the first token on: building the model and reading the prompt need more than any decode step,
and would hide what SGRS adds to one.
"""

from __future__ import annotations

import subprocess
import sys

import torch

import lvlm_saliency as ls
from lvlm_saliency.evaluation.cost import PeakMemory

from . import cases
from .models import prompt, random_llava, size
from .timing import Row

TOKENS = 12


def sgrs_memory(layers: int, threads: int, dtype: torch.dtype) -> list[Row]:
    """Extra peak of SGRS over plain decoding, as a share of model and cache."""
    peaks = {}
    for what in ("plain", "sgrs"):
        settings = what, str(layers), str(threads), str(dtype).removeprefix("torch.")
        command = [sys.executable, "-m", "bench.memory", *settings]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[what], base = map(int, done.stdout.split())
    extra = (peaks["sgrs"] - peaks["plain"]) / base
    return [
        Row(
            "SGRS peak memory",
            "plain generate",
            "at most 3 % of model and cache on top",
            1 + extra,
            1 + extra,
            1 + extra,
            1,
            0.0,
            extra <= 0.03,
            {"peak_bytes": peaks, "model_and_cache_bytes": base},
        )
    ]


class FromFirstToken:
    """A logits processor that changes nothing; when it is first called the prompt has been read."""

    def __init__(self, memory: PeakMemory):
        self.memory, self.called = memory, False

    def __call__(self, _ids, scores):
        if not self.called:
            self.memory.reset()
            self.called = True
        return scores


def main(what: str, layers: int, threads: int, dtype: torch.dtype) -> None:
    torch.set_num_threads(threads)
    model = random_llava(layers, 1152, 18, 3072, dtype=dtype)
    inputs = prompt(model)
    methods = (
        [ls.SGRS(alpha=0.6, seed=0, layers=cases.upper_half(model), execution="stepwise")] if what == "sgrs" else []
    )
    memory = PeakMemory(model.device)
    out = cases.ours(model, inputs, methods, TOKENS, do_sample=True, logits_processor=[FromFirstToken(memory)])
    cache = sum(
        x.numel() * x.element_size() for layer in out.past_key_values.layers for x in (layer.keys, layer.values)
    )
    print(memory.bytes(), size(model)[1] + cache)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), getattr(torch, sys.argv[4]))
