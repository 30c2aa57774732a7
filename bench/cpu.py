"""The CPU table: `python -m bench.cpu` (or `make bench`), under 15 minutes on two cores."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch

import lvlm_saliency as ls

from . import cases
from .memory import sgrs_memory
from .models import prompt, random_llava, ready, size
from .report import write
from .timing import paired, row


def scenes():
    """The model that ships, on one of its pictures."""
    from lvlm_saliency.scenes.draw import draw_scene
    from lvlm_saliency.scenes.world import demo_scenes

    model, processor = ls.load_model("scenes")
    image = draw_scene(demo_scenes(1, 0)[0])
    inputs = dict(ls.build_inputs(processor, [image], "Describe the image.", model=model))
    return ready(model), inputs


def help_row(repeats: int = 9):
    """`lvlm-saliency --help` against an interpreter that starts and does nothing."""
    command = Path(sys.executable).with_name("lvlm-saliency")

    def start(*words):
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)

    ratios, own = paired(lambda: start(sys.executable, "-c", "pass"), lambda: start(command, "--help"), repeats)
    found = row("lvlm-saliency --help", "python -c pass", "under 0.3 s", ratios, own)
    found.met = found.seconds < 0.3
    return [found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--quick", action="store_true", help="one pair per row: to see that it runs")
    options = parser.parse_args()
    pairs = 1 if options.quick else 5
    torch.set_num_threads(os.cpu_count() or 1)
    tables: dict[str, list] = {"command line": help_row()}

    model, inputs = scenes()
    say(f"scenes, {size(model)[0] / 1e6:.1f} M parameters, float32")
    tables["scenes (ships with the package), float32"] = [
        *cases.trace_against_definition(model, inputs, 60, None, pairs),
        *cases.trace_after_generation(model, inputs, 60, 3 * pairs, 0.20),
        *cases.decoding(model, inputs, 60, 4 * pairs),
        *cases.sgrs(model, inputs, 60, 2 * pairs),
    ]
    model = random_llava(8, 512, 8, 1408, dtype=torch.float32)
    say(f"random LLaVA, {size(model)[0] / 1e6:.0f} M parameters, float32")
    tables["random LLaVA, 8 layers of 512, float32"] = [
        *cases.trace_against_definition(model, prompt(model), 60, None if not options.quick else 3, 1),
        *cases.trace_over_context(model, (1024, 2048, 4096, 8192, 16384), 32, 2),
    ]
    model = random_llava(24, 1152, 18, 3072)
    inputs = prompt(model)
    say(f"random LLaVA, {size(model)[0] / 1e6:.0f} M parameters, bfloat16")
    pairs = 1 if options.quick else 3
    tables["random LLaVA, 24 layers of 1152, bfloat16"] = [
        *cases.trace_against_definition(model, inputs, 60, 2, 1),
        *cases.trace_after_generation(model, inputs, 60, pairs, 0.20),
        *cases.decoding(model, inputs, 40, pairs),
        *cases.sgrs(model, inputs, 40, pairs, alphas=(0.0, 0.6)),
        *sgrs_memory(),
    ]
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}"
    print(write(options.out, "cpu", machine, tables))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
