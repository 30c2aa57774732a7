"""Whether a value that a file held is of the kind that it should be: JSON has numbers that are none of ours."""

from __future__ import annotations

import math
from typing import Any


def is_whole(value: Any) -> bool:
    """Whether this is a whole number from 0 that an index or an id can be."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def is_number(value: Any) -> bool:
    """Whether this is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**63


def is_number_or_nan(value: Any) -> bool:
    """Whether this is a finite number, or the NaN that stands for none."""
    return is_number(value) or (isinstance(value, float) and math.isnan(value))


def is_share(value: Any) -> bool:
    """Whether this is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1
