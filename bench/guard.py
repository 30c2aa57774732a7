"""What the guard costs beside greedy decoding: processor time and passes, the same batches in turn.

    python -m bench.guard [--batches 4] [--batch-size 16]

Processor time of this process, not time on the clock, so that a machine with other work gives the same ratio.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from lvlm_saliency.allocator import keep_freed_memory
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.chat import Chat, Query
from lvlm_saliency.interventions.registry import method
from lvlm_saliency.model.provenance import machine


def timed(chat: Chat, queries: list[Query], methods: list[Any]) -> tuple[float, int, int]:
    """Processor seconds, forward passes, and steps of the longest answer."""
    inputs = chat.encode(queries, 128)
    begin = time.process_time()
    answers = chat.ask(queries, methods, inputs=inputs, max_new_tokens=128)
    spent = time.process_time() - begin
    return spent, answers[0].output.cost.forwards, max(len(answer.token_ids) for answer in answers)  # type: ignore[union-attr]


def main() -> None:
    """Print a line for each way of writing and the ratio of their times, batch by batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    keep_freed_memory()  # as the command line does
    chat = Chat.load("scenes")
    opened = open_benchmark("scenes-caption", n=options.batches * options.batch_size)
    queries = [Query(item.prompt, [opened.picture(item)]) for item in opened.items]
    ways = {"greedy": [], "guard": [method("guard")]}
    found: dict[str, list[tuple[float, int, int]]] = {name: [] for name in ways}
    timed(chat, queries[:2], ways["guard"])  # what is made once is made
    for start in range(0, len(queries), options.batch_size):
        for name, methods in ways.items():
            found[name].append(timed(chat, queries[start : start + options.batch_size], methods))
    for name, rows in found.items():
        seconds, passes, steps = (sum(row[at] for row in rows) for at in range(3))
        print(f"{name:8} {1000 * seconds / len(queries):7.1f} ms a caption, {passes / steps:.2f} passes a token")
    ratios = [own[0] / base[0] for own, base in zip(found["guard"], found["greedy"], strict=True)]
    print(f"time, relative to greedy: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); {machine()}")


if __name__ == "__main__":
    main()
