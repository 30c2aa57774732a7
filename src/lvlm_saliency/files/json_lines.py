"""JSON lines that survive a killed process: a torn line at the end is ignored when they are read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import append_bytes, check_writable, parse_json, read_bytes, write_text

try:
    import fcntl
except ImportError:  # not a POSIX system: two processes of one shard are then not kept apart
    fcntl = None  # type: ignore[assignment]


def read_lines(path: Path, check: Callable[[dict[str, Any]], str] = lambda row: "") -> list[dict[str, Any]]:
    """Every complete line; a torn one at the end, left by a process that was killed or still writes, is ignored.

    `check` says what is wrong with a row, nothing when it can be used.

    Raises:
        InputError: a line in the midst of the file is no JSON object, or not one that can be used.
    """
    if not path.exists():
        return []
    *whole, _ = read_bytes(path).split(b"\n")
    rows = []
    for number, line in enumerate(whole, 1):
        try:
            row = parse_json(line)
            fault = check(row) if isinstance(row, dict) else "no JSON object"
        except ValueError as error:
            row, fault = None, f"not JSON: {error}"
        if fault:
            raise InputError(f"{path}:{number}: damaged ({fault}); delete the file, and its items are done anew")
        rows.append(row)
    return rows


def mend(path: Path) -> int:
    """Cut a torn line off the end of the file and return how many bytes went."""
    if not path.exists():
        return 0
    content = read_bytes(path)
    torn = len(content) - (content.rfind(b"\n") + 1)
    if torn:
        os.truncate(path, len(content) - torn)
    return torn


def append(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append the rows, one line each, and flush them to disk."""
    append_bytes(path, b"".join(as_json(row).encode() + b"\n" for row in rows))


def write_whole(path: Path, text: str) -> None:
    """Replace the file atomically: a reader sees the old file or the new one."""
    write_text(path, text)


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON with NaN as null."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """`value` in JSON's types; NaN and infinities become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


@contextmanager
def locked(path: Path, instead: str = "give each its own --shard i/k") -> Iterator[None]:
    """Hold the lock file, which the system releases when the process ends in any way. instead: what the other process's
    user can do.

    Raises:
        InputError: another process holds it, or no file can be there.
    """
    check_writable(path)
    with path.open("w") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"another process works on this part of {path.parent}; {instead}") from None
        yield
