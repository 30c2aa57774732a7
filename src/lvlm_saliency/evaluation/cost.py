"""What a run costs: memory, time and passes per token."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SUMS = ("seconds", "forwards", "backwards", "steps", "tokens")


class PeakMemory:
    """The most memory in use since `reset()`: what torch allocated on a GPU, else the process's resident set."""

    def __init__(self, device: Any):
        self.cuda = device if device.type == "cuda" else None

    def reset(self) -> None:
        if self.cuda is not None:
            import torch

            torch.cuda.reset_peak_memory_stats(self.cuda)
        else:
            _reset_resident_peak()

    def bytes(self) -> int:
        if self.cuda is not None:
            import torch

            return torch.cuda.max_memory_allocated(self.cuda)
        return _resident_peak()


def _reset_resident_peak() -> None:
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        try:
            clear.write_text("5")
        except OSError:
            return  # not allowed here: the peak is then that of the process so far


def _resident_peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def summed(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The cost of all batches of one system.

    Seconds per token are wall-clock seconds over all tokens written, so they depend on the batch size. Passes per token
    count one pass of a batch as one, over the length of its longest answer: greedy decoding has exactly 1. A method
    that decodes a batch's samples one after the other is counted over the lengths of all answers.
    """
    total = {name: sum(line[name] for line in lines) for name in SUMS}
    tokens, steps = total["tokens"] or float("nan"), total["steps"] or float("nan")
    sizes = sorted({line["batch_size"] for line in lines})
    return {
        **total,
        "seconds_per_token": total["seconds"] / tokens,
        "forwards_per_token": total["forwards"] / steps,
        "backwards_per_token": total["backwards"] / steps,
        "peak_bytes": max((line["peak_bytes"] for line in lines), default=0),
        "batch_sizes": sizes,
        "rows_per_token": max((line["rows_per_token"] for line in lines), default=1),
    }
