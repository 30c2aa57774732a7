"""The CPU table: `python -m bench.cpu` (or `make bench`), about a quarter of an hour on two cores."""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import torch

import lvlm_saliency as ls

from . import cases, floor, traces
from .curve import curve
from .memory import sgrs_memory
from .models import prompt, random_llava, ready, size
from .report import write
from .timing import paired, row, seconds_of

SMALL, MEDIUM = "scenes (ships with the package), float32", "random LLaVA, 8 layers of 512, float32"


def scenes(pictures: int = 1):
    """The model that ships, on some of its pictures: 64 tokens each."""
    from lvlm_saliency.scenes.draw import draw_scene
    from lvlm_saliency.scenes.world import demo_scenes

    model, processor = ls.load_model("scenes")
    images = [draw_scene(scene) for scene in demo_scenes(pictures, 0)]
    inputs = dict(ls.build_inputs(processor, images, "Describe the image.", model=model))
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


def machine() -> str:
    """The processor and how many cores are in use; nothing that names the computer."""
    cpu = platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        named = re.search(r"model name\s*:\s*(.+)", information.read_text())
        cpu = named[1] if named else cpu
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' * (threads > 1)} of {cpu}"


def floor_remark(model, inputs, tokens: int) -> str:
    """What plain generation takes per token beyond the first, beside its physical floor."""
    context = inputs["input_ids"].shape[1]
    cases.plain(model, inputs, 2, do_sample=False)
    taken = []
    for _ in range(3):
        first = seconds_of(lambda: cases.plain(model, inputs, 1, do_sample=False))
        whole = seconds_of(lambda: cases.plain(model, inputs, tokens, do_sample=False))
        taken.append((whole - first) / (tokens - 1))
    limits = floor.measured("cpu", model.dtype, 512, 2048)
    return floor.sentence(model, limits, context + tokens // 2, cases.upper_half(model), taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--quick", action="store_true", help="one pair per row: to see that it runs")
    parser.add_argument("--only", choices=("scenes", "medium", "large"), help="one of the models")
    parser.add_argument(
        "--threads",
        type=int,
        default=os.cpu_count() or 1,
        help="default all cores; on a machine that others use, fewer: threads that wait for a busy core distort it all",
    )
    options = parser.parse_args()
    pairs = 1 if options.quick else 5
    torch.set_num_threads(options.threads)
    tables: dict[str, list] = {"command line": help_row()}
    remarks, plots, begin = {}, {}, time.perf_counter()

    if options.only in (None, "scenes"):
        model, inputs = scenes()
        say(f"scenes, {size(model)[0] / 1e6:.1f} M parameters, float32", begin)
        gated = cases.sgrs(model, inputs, 60, 2 * pairs)
        tables[SMALL] = [
            *traces.trace_against_definition(*scenes(pictures=9), 60, 12, pairs),
            *traces.trace_after_generation(model, inputs, 60, 3 * pairs, 0.20),
            *cases.decoding(model, inputs, 60, 5 * pairs),
            *gated,
        ]
        remarks[SMALL] = floor_remark(model, inputs, 60)
        plots["scenes"] = curve("SGRS / sampled generation, scenes", 0.5, cases.curve_of(gated))
    if options.only in (None, "medium"):
        model = random_llava(8, 512, 8, 1408, dtype=torch.float32)
        inputs = prompt(model)
        say(f"random LLaVA, {size(model)[0] / 1e6:.0f} M parameters, float32", begin)
        gated = cases.sgrs(model, inputs, 60, pairs, alphas=(0.0, 0.3, 0.6))
        tables[MEDIUM] = [
            *traces.trace_against_definition(model, inputs, 60, 6, 3 if pairs > 1 else 1),
            *traces.trace_after_generation(model, inputs, 60, pairs, 0.20),
            *cases.decoding(model, inputs, 60, pairs),
            *gated,
            *traces.trace_over_context(model, (1024, 2048, 4096, 8192, 16384), 32, 2),
        ]
        remarks[MEDIUM] = floor_remark(model, inputs, 60)
    if options.only in (None, "large"):
        slower = floor.emulated(torch.bfloat16)
        dtype, layers = (torch.float32, 12) if slower else (torch.bfloat16, 24)
        model = random_llava(layers, 1152, 18, 3072, dtype=dtype)
        inputs = prompt(model)
        precision = str(dtype).removeprefix("torch.")
        title = f"random LLaVA, {layers} layers of 1152, {precision}"
        say(f"random LLaVA, {size(model)[0] / 1e6:.0f} M parameters, {precision}", begin)
        pairs = 1 if options.quick else 3
        tables[title] = [
            *traces.trace_against_definition(model, inputs, 60, 2, pairs),
            *traces.trace_after_generation(model, inputs, 60, pairs, 0.20),
            *cases.decoding(model, inputs, 32, pairs),
            *cases.sgrs(model, inputs, 32, pairs - pairs // 3, alphas=(0.0, 0.6)),
            *sgrs_memory(layers, options.threads, dtype),
        ]
        remarks[title] = floor_remark(model, inputs, 12)
        if slower:
            remarks[title] += (
                " Float32 and half the layers, because this processor has no instructions for bfloat16: there a matrix "
                f"product took {slower:.0f} times longer."
            )
    say("done", begin)
    print(write(options.out, machine(), tables, remarks, plots))


def say(text: str, begin: float) -> None:
    print(f"[{time.perf_counter() - begin:4.0f} s] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
