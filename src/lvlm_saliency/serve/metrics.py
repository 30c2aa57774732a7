"""The server's metrics, in the text format of Prometheus."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SIZES = (1, 2, 4, 8, 16, 32, 64)
HELP = {
    "requests_total": "Requests answered, by path and status.",
    "tokens_total": "Tokens written.",
    "prompt_tokens_total": "Tokens read in prompts.",
    "rejected_total": "Requests refused because the queue was full.",
    "cancelled_total": "Texts given up because their client had gone.",
    "request_seconds": "Seconds from a request to the end of its answer.",
    "batch_size": "Texts decoded together.",
    "waiting": "Texts that wait for their turn.",
    "running": "Texts that are being written.",
}
PREFIX = "lvlm_saliency_"


class Metrics:
    """Counters, histograms and gauges. Every method is thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seen: dict[str, tuple[tuple[float, ...], list[int], list[float]]] = {
            "request_seconds": (SECONDS, [0] * (len(SECONDS) + 1), [0.0]),
            "batch_size": (SIZES, [0] * (len(SIZES) + 1), [0.0]),
        }
        self._gauges = {"waiting": 0, "running": 0}

    def count(self, name: str, by: int = 1, **labels: object) -> None:
        """Add to a counter; `labels` must take few values."""
        told = ",".join(f'{key}="{value}"' for key, value in labels.items())
        with self._lock:
            self._counts[name, told] += by

    def observe(self, name: str, value: float) -> None:
        """Add a value to a histogram."""
        bounds, counts, total = self._seen[name]
        with self._lock:
            counts[bisect_left(bounds, value)] += 1
            total[0] += value

    def gauge(self, name: str, value: int) -> None:
        """Set a gauge."""
        with self._lock:
            self._gauges[name] = value

    def text(self) -> str:
        """All metrics as text."""
        with self._lock:
            lines: list[str] = []
            for name in sorted({name for name, _ in self._counts}):
                lines += [f"# HELP {PREFIX}{name} {HELP[name]}", f"# TYPE {PREFIX}{name} counter"]
                for (own, labels), count in sorted(self._counts.items()):
                    if own == name:
                        lines.append(f"{PREFIX}{name}{{{labels}}} {count}" if labels else f"{PREFIX}{name} {count}")
            for name, value in self._gauges.items():
                lines += [
                    f"# HELP {PREFIX}{name} {HELP[name]}",
                    f"# TYPE {PREFIX}{name} gauge",
                    f"{PREFIX}{name} {value}",
                ]
            for name, (bounds, counts, total) in self._seen.items():
                lines += [f"# HELP {PREFIX}{name} {HELP[name]}", f"# TYPE {PREFIX}{name} histogram"]
                so_far = 0
                for bound, count in zip((*bounds, "+Inf"), counts, strict=True):
                    so_far += count
                    lines.append(f'{PREFIX}{name}_bucket{{le="{bound}"}} {so_far}')
                lines += [f"{PREFIX}{name}_sum {total[0]:.6f}", f"{PREFIX}{name}_count {so_far}"]
        return "\n".join(lines) + "\n"
