"""JSON from files, read within limits and strictly, so that a damaged file is not taken for a sound one."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from lvlm_saliency.errors import InputError

from .opening import MOST_BYTES, decoded, read_bytes

DEEPEST = 100
"""Largest depth of nested lists and objects."""
MOST_DIGITS = 40


def read_json(path: str | os.PathLike[str], most: int = MOST_BYTES) -> Any:
    """The one JSON value that the file holds.

    Raises:
        UnreadableError: as `read_bytes`.
        InputError: it is not UTF-8, or no JSON as `parse_json` takes it.
    """
    text = decoded(read_bytes(path, most), path)
    try:
        return parse_json(text)
    except json.JSONDecodeError as failure:
        raise InputError(f"{path}:{failure.lineno}: not JSON ({failure.msg})") from failure
    except ValueError as failure:
        raise InputError(f"{path}: not JSON ({failure})") from failure


def parse_json(text: str | bytes, *, finite: bool = True) -> Any:
    """The value of a JSON document.

    Raises:
        ValueError: no JSON; a key twice in an object; a number beyond float64 or of more than 40 digits; nesting deeper
            than 100; half a surrogate pair; with `finite` also NaN and Infinity, which JSON does not know.
    """
    text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    try:
        value = (_FINITE if finite else _LENIENT).decode(text)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST}") from None
    check_value(text, value)
    return value


def check_value(text: str, value: Any) -> None:
    """Raise ValueError where `value`, which stood in `text`, is nested too deep or holds half a surrogate pair."""
    if text.count("[") + text.count("{") > DEEPEST:
        _check_depth(value)
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a string holds half a surrogate pair") from None


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            below
            for one in level
            if isinstance(one, (dict, list))
            for below in (one.values() if isinstance(one, dict) else one)
            if isinstance(below, (dict, list))
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {DEEPEST}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:60]!r} stands twice in an object")
    return found


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:MOST_DIGITS]} is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


DECODERS: dict[str, Any] = {"object_pairs_hook": _object, "parse_float": _float, "parse_int": _integer}
_FINITE = json.JSONDecoder(**DECODERS, parse_constant=_constant)
_LENIENT = json.JSONDecoder(**DECODERS)
