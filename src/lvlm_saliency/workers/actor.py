"""What runs inside a worker process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from lvlm_saliency.allocator import keep_freed_memory


class Worker:
    """Holds what `build` made, a model as a rule, and calls functions with it, one after the other.

    Args:
        folder: the working folder of the process that asks, so that relative paths mean the same here.
    """

    def __init__(self, folder: str):
        self.held: Any = None
        keep_freed_memory()
        if os.path.isdir(folder):
            os.chdir(folder)

    def begin(self, build: Callable[[], Any], introduce: Callable[[Any], Any]) -> tuple[Any, int]:
        """Make what this worker holds; what `introduce` says of it, and the number of this process."""
        self.held = build()
        return introduce(self.held), os.getpid()

    def work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(held, *arguments)`."""
        return function(self.held, *arguments)
