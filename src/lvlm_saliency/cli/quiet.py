"""Silences the warnings and progress bars of libraries."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(as_json: bool = False) -> Iterator[None]:
    """Silence the warnings of libraries; their errors are raised.

    With `as_json` whatever is printed inside the block goes to stderr, so that stdout holds one JSON document. Where
    stderr is no terminal, libraries draw no bars.
    """
    level, out = logging.root.manager.disable, sys.stdout
    if not sys.stderr.isatty():
        _no_bars()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if as_json:
                sys.stdout = sys.stderr
            yield
    finally:
        sys.stdout = out
        logging.disable(level)


def _no_bars() -> None:
    """Switch the progress bars of transformers and of the hub off for this process."""
    # Set in the environment, which both read when they are imported: importing them here would slow every command.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if "transformers" in sys.modules:
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
