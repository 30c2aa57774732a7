"""Keeping libraries from writing between the lines of a result."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(as_json: bool = False) -> Iterator[None]:
    """Silence the warnings of libraries (their errors are raised, and told by us).

    With `as_json` whatever is printed inside the block goes to stderr, so that stdout holds one JSON document.
    """
    level, out = logging.root.manager.disable, sys.stdout
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
