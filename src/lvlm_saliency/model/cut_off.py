"""Answers that the limit on new tokens ended: telling them from finished ones, and the mark that is printed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

CUT = "[cut]"
LEGEND = f"{CUT}: the limit on new tokens ended it"


def finish(ids: Sequence[int], ends: Collection[int], limit: int) -> Literal["stop", "length"]:
    """Why a text of these generated ids ended: "length" where it has `limit` tokens and the last ends no text."""
    return "length" if len(ids) >= limit and ids[-1] not in ends else "stop"
