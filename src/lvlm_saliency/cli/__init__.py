"""The command line. Every command has its own file, imported when it runs, so that `--help` loads no library."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `lvlm-saliency` with `arguments` (default: those of the process); returns the exit status.

    0 success; 2 bad usage or input; 1 failure while running; 130 interrupted; 141 the reader of the output has gone. A
    failure prints exactly one line.
    """
    from .app import run

    if arguments is None:  # the process is ours
        from ..allocator import keep_freed_memory

        keep_freed_memory()
    return run(arguments)
