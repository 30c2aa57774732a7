"""The benchmarks of a CPU: `python -m bench.cpu` (or `make bench`), at most about ten minutes on two cores.

Measured by default: the start of the command, the small model that ships, and a LLaVA of 59 M random weights. A larger
one takes another ten minutes to half an hour: `--models large --minutes 0`; two hybrids take a minute: `--models delta
convolution`. Each part is written as soon as it has been measured, so a run may be stopped, and `--resume` continues it
on the same day.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import lvlm_saliency as ls

from . import cases, floor, traces
from .curve import curve
from .memory import sgrs_memory
from .models import prompt, random_hybrid, random_llava, ready, text_prompt
from .plan import Part, run
from .report import Results
from .timing import Row, paired, row, seconds_of

COMMAND = "command line"
HYBRIDS = {"delta": "gated delta rule", "convolution": "short convolutions"}
MODELS = ("command", "scenes", "medium", "large", *HYBRIDS)
DEFAULT = ("command", "scenes", "medium")


@dataclass
class Subject:
    """A model under test. pictures: its prompt with nine pictures, where the definition is timed on a longer one."""

    title: str
    model: Any
    inputs: dict[str, Any]
    pictures: dict[str, Any] | None = None


@functools.lru_cache(maxsize=1)  # the one before is dropped: two models are never held at once
def subject(name: str) -> Subject:
    """Build the model of this name."""
    if name == "scenes":
        model, processor = ls.load_model("scenes")
        return Subject(title(name), ready(model), scene_inputs(model, processor, 1), scene_inputs(model, processor, 9))
    if name in HYBRIDS:
        model = random_hybrid(name, 8, 512, 1408)
        return Subject(title(name), model, text_prompt(model, 600))
    if name == "medium":
        model = random_llava(8, 512, 8, 1408, dtype=torch.float32)
    else:
        dtype, layers, _ = large_shape()
        model = random_llava(layers, 1152, 18, 3072, dtype=dtype)
    return Subject(title(name), model, prompt(model))


def scene_inputs(model, processor, pictures: int) -> dict[str, Any]:
    """A question about the first drawn scenes."""
    from lvlm_saliency.scenes.draw import draw_scene
    from lvlm_saliency.scenes.world import demo_scenes

    images = [draw_scene(scene) for scene in demo_scenes(pictures, 0)]
    return dict(ls.build_inputs(processor, images, "Describe the image.", model=model))


@functools.cache
def large_shape() -> tuple[torch.dtype, int, float]:
    """Data type and layers of the large model, and how many times slower bfloat16 would be than float32 (0: it is not).

    A processor without instructions for bfloat16 converts each number; there the model is float32, of half the layers.
    """
    slower = floor.emulated(torch.bfloat16)
    return (torch.float32, 12, slower) if slower else (torch.bfloat16, 24, 0.0)


def title(name: str) -> str:
    """The heading of a model's table."""
    if name == "large":
        dtype, layers, _ = large_shape()
        return f"random LLaVA, {layers} layers of 1152, {str(dtype).removeprefix('torch.')}"
    return {
        "command": COMMAND,
        "scenes": "scenes (ships with the package), float32",
        "medium": "random LLaVA, 8 layers of 512, float32",
        **{
            one: f"random hybrid, {told}, 8 layers of 512, 2 of them attention, float32"
            for one, told in HYBRIDS.items()
        },
    }[name]


def parts(pairs: int, threads: int) -> list[Part]:
    """All parts in the order in which they run.

    Args:
        pairs: of a row at the least expensive; a slow row gets fewer (`timing.ROW_SECONDS`).
        threads: of the processes that measure memory.
    """
    few = 1 if pairs == 1 else 3

    def timed(model: str, name: str, what: str, seconds: float, rows: Callable[[Subject], list[Row]]) -> Part:
        return Part(model, name, what, seconds, lambda: rows(subject(model)))

    definition, fresh = "trace against a full pass per token", "trace of an answer just written"
    loop, rejecting = "our loop and LocoRE against model.generate", "SGRS over a range of thresholds"
    return [
        Part("command", "help", "the start of lvlm-saliency --help", 5, lambda: help_row(2 * pairs - 1)),
        timed("scenes", "loop", loop, 30, lambda s: cases.decoding(s.model, s.inputs, 60, 5 * pairs)),
        timed("scenes", "fresh", fresh, 10, lambda s: fresh_trace(s, 60, 3 * pairs)),
        timed("scenes", "trace", definition, 40, lambda s: against_definition(s, 60, 12, pairs)),
        timed("scenes", "sgrs", rejecting, 120, lambda s: cases.sgrs(s.model, s.inputs, 60, 2 * pairs)),
        timed("medium", "loop", loop, 45, lambda s: cases.decoding(s.model, s.inputs, 60, pairs)),
        timed("medium", "fresh", fresh, 15, lambda s: fresh_trace(s, 60, pairs)),
        timed("medium", "context", "a trace over its context", 60, over_context),
        timed("medium", "sgrs", rejecting, 90, lambda s: some_thresholds(s, 60, pairs, (0.0, 0.3, 0.6))),
        timed("medium", "trace", definition, 55, lambda s: against_definition(s, 60, 6, few)),
        timed("large", "loop", loop, 70, lambda s: cases.decoding(s.model, s.inputs, 32, few)),
        timed("large", "fresh", fresh, 25, lambda s: fresh_trace(s, 60, few)),
        timed("large", "sgrs", rejecting, 150, lambda s: some_thresholds(s, 32, max(1, few - 1), (0.0, 0.6))),
        timed("large", "trace", definition, 140, lambda s: against_definition(s, 60, 2, few)),
        *(timed(one, "fresh", fresh, 20, lambda s: fresh_trace(s, 60, pairs, 0.5)) for one in HYBRIDS),
        Part("large", "memory", "peak memory of SGRS", 60, lambda: large_memory(threads)),
    ]


def against_definition(s: Subject, tokens: int, sampled: int, pairs: int) -> list[Row]:
    """`trace` beside the definition."""
    return traces.trace_against_definition(s.model, s.pictures or s.inputs, tokens, sampled, pairs)


def fresh_trace(s: Subject, tokens: int, pairs: int, limit: float = 0.20) -> list[Row]:
    """`trace` as a share of the generation before it."""
    return traces.trace_after_generation(s.model, s.inputs, tokens, pairs, limit)


def over_context(s: Subject) -> list[Row]:
    """`trace` by context length."""
    return traces.trace_over_context(s.model, (1024, 2048, 4096, 8192, 16384), 32, 2)


def some_thresholds(s: Subject, tokens: int, pairs: int, alphas: tuple[float, ...]) -> list[Row]:
    """SGRS at these thresholds."""
    return cases.sgrs(s.model, s.inputs, tokens, pairs, alphas=alphas)


def large_memory(threads: int) -> list[Row]:
    """Peak memory of SGRS on the large model, in processes of their own."""
    dtype, layers, _ = large_shape()
    return sgrs_memory(layers, threads, dtype)


def help_row(repeats: int) -> list[Row]:
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


def floor_remark(name: str) -> str:
    """What plain generation takes per token beyond the first, beside its physical floor."""
    found, tokens = subject(name), 12 if name == "large" else 60
    model, inputs = found.model, found.inputs
    context = inputs["input_ids"].shape[1]
    cases.plain(model, inputs, 2, do_sample=False)
    taken = []
    for _ in range(3):
        first = seconds_of(lambda: cases.plain(model, inputs, 1, do_sample=False))
        whole = seconds_of(lambda: cases.plain(model, inputs, tokens, do_sample=False))
        taken.append((whole - first) / (tokens - 1))
    limits = floor.measured("cpu", model.dtype, 512, 2048)
    text = floor.sentence(model, limits, context + tokens // 2, cases.upper_half(model), taken)
    if name == "large" and (slower := large_shape()[2]):
        text += (
            " Float32 and half the layers, because this processor has no instructions for bfloat16: there a matrix "
            f"product took {slower:.0f} times longer."
        )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = parts(5, 1)
    names = tuple(dict.fromkeys(part.name for part in every))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=DEFAULT, help=f"default {' '.join(DEFAULT)}")
    parser.add_argument("--parts", nargs="+", choices=names, default=names, help="default all")
    parser.add_argument("--minutes", type=float, default=10, help="no part begins that would end later; 0: no limit")
    parser.add_argument("--resume", action="store_true", help="leave out what the files of today hold")
    parser.add_argument("--list", action="store_true", help="print the parts and about how long each takes, and end")
    parser.add_argument("--quick", action="store_true", help="one pair per row: to see that it runs")
    parser.add_argument(
        "--threads",
        type=int,
        default=os.cpu_count() or 1,
        help="default all cores; on a machine that others use, fewer: threads that wait for a busy core distort it all",
    )
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{part.key:16} {part.seconds:4.0f} s  {part.what}" for part in every))
        return
    torch.set_num_threads(options.threads)
    results = Results.opened(options.out, machine())

    def keep(part: Part, rows: list[Row]) -> None:
        heading = title(part.model)
        results.put(heading, part.key, rows)
        if part.model != "command" and heading not in results.remarks:
            results.remarks[heading] = floor_remark(part.model)
        if part.key == "scenes/sgrs":
            results.plots["scenes"] = curve("SGRS / sampled generation, scenes", 0.5, cases.curve_of(rows))
        results.write()

    chosen = [
        part
        for part in parts(1 if options.quick else 5, options.threads)
        if part.model in options.models and part.name in options.parts
    ]
    left = run(chosen, results.parts if options.resume else (), options.minutes, keep, say)
    if left:
        say(
            f"{options.minutes:g} minutes did not suffice for {', '.join(part.key for part in left)}: "
            "go on with --resume, and --minutes 0 for no limit"
        )
    print(results.write())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
