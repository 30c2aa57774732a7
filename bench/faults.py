"""What it costs to give freed memory back: page faults and kernel time of beams with and without `keep_freed_memory`.

`python -m bench.faults` decodes with beams on a random LLaVA (12 layers, width 512, float32, one thread), each way in a
process of its own, and prints a line for each. Faults are counted, so a busy machine changes little.
"""

from __future__ import annotations

import resource
import subprocess
import sys

import torch

import lvlm_saliency as ls
from lvlm_saliency.allocator import keep_freed_memory
from lvlm_saliency.model.provenance import machine

from .models import random_llava

PICTURE_TOKEN, TOKENS = 7999, 24


def measured(kept: bool) -> None:
    """Print the faults of two runs of each method, after one that warms up."""
    if kept and not keep_freed_memory():
        raise SystemExit("this C library has no such setting")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = random_llava(12, 512, 8, 1376, vocabulary=PICTURE_TOKEN + 1, dtype=torch.float32)
    ids = torch.cat([torch.ones(1, 1), torch.full((1, 576), PICTURE_TOKEN), torch.randint(5, 7000, (1, 20))], 1).long()
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": torch.randn(1, 3, 336, 336)}
    limits = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False}
    for name in ("beam", "opera"):
        runs = []
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_SELF)
            ls.generate(model, inputs, [ls.method(name)], **limits)
            after = resource.getrusage(resource.RUSAGE_SELF)
            runs.append((after.ru_minflt - before.ru_minflt, after.ru_stime - before.ru_stime))
        faults, seconds = (sum(run[at] for run in runs[1:]) for at in range(2))
        way = "kept" if kept else "given back"
        print(
            f"{name:6} {way:11} {faults:10,} faults, {seconds:.2f} s in the kernel, peak {after.ru_maxrss // 1024} MB"
        )


def main() -> None:
    """Both ways, each in a process of its own."""
    if sys.argv[1:]:
        measured(sys.argv[1] == "kept")
        return
    for way in ("given-back", "kept"):
        subprocess.run([sys.executable, "-m", "bench.faults", way], check=True)
    print(machine())


if __name__ == "__main__":
    main()
