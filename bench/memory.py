"""Peak memory of a generation, in a process of its own: `python -m bench.memory sgrs`."""

from __future__ import annotations

import resource
import subprocess
import sys

import torch

import lvlm_saliency as ls

from . import cases
from .models import prompt, random_llava, size
from .timing import Row

TOKENS = 12


def sgrs_memory(threads: int) -> list[Row]:
    """Extra peak of SGRS over plain generation, as a share of model and cache."""
    peaks = {}
    for what in ("plain", "sgrs"):
        command = [sys.executable, "-m", "bench.memory", what, str(threads)]
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


def main(what: str, threads: int) -> None:
    torch.set_num_threads(threads)
    model = random_llava(24, 1152, 18, 3072)
    inputs = prompt(model)
    methods = (
        [ls.SGRS(alpha=0.6, seed=0, layers=cases.upper_half(model), execution="stepwise")] if what == "sgrs" else []
    )
    out = cases.ours(model, inputs, methods, TOKENS, do_sample=True)
    cache = sum(
        x.numel() * x.element_size() for layer in out.past_key_values.layers for x in (layer.keys, layer.values)
    )
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, size(model)[1] + cache)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
