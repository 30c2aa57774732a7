"""Values that no program of ours writes, in place of those that a file holds: of a stranger, or of a wrong edit."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

VALUES = [
    *(None, True, -1, 0, 7, 2**31, 2**63, 2**70, 1.5, 1e308, float("nan"), float("inf")),
    *("", "x", "\x1b[31mRED\x1b]0;P\x07", "a\x00b", "NaN", "../../etc/passwd", "\u202eevil"),
    *([], {}, [[]], [None], {"a": 1}),
]
GONE = object()


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Where values stand: keys and numbers, one after the other; the first item alone stands for those of a list."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def strange(value: Any, seed: int, each: int) -> Iterator[tuple[tuple, Any]]:
    """Copies of `value`, each with another thing at one place, or nothing there; `each`: so many for every place."""
    chance = random.Random(seed)
    for path in places(value):
        for other in chance.sample([*VALUES, GONE], each):
            copied = copy.deepcopy(value)
            *above, last = path
            node = copied
            for key in above:
                node = node[key]
            if other is GONE:
                del node[last]
            else:
                node[last] = copy.deepcopy(other)
            yield path, copied
