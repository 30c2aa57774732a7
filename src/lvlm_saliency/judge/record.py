"""The record of how answers were judged, stored beside the judged file, so that different judges are never mixed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import read_json
from lvlm_saliency.files.json_lines import as_json, write_whole

DECIDING = ("model", "served", "wording", "temperature", "max_tokens")
"""What must be equal for two judgements to be of one metric."""


def record_path(judged: str | Path) -> Path:
    """Where the record of a judged file stands."""
    return Path(judged).with_name(Path(judged).name + ".judge.json")


def write_record(judged: str | Path, record: Mapping[str, Any]) -> None:
    """Write the record of a judged file."""
    write_whole(record_path(judged), as_json(dict(record), indent=1) + "\n")


def read_record(judged: str | Path) -> dict[str, Any] | None:
    """The record of a judged file; None where there is none (others judged it).

    Raises:
        InputError: the record is damaged.
    """
    path = record_path(judged)
    if not path.is_file():
        return None
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected an object; delete it, or judge the answers again")
    return found


def check_same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> None:
    """Refuse to set judgements of different judges side by side.

    Raises:
        InputError: both records are known, and differ in what decides a judgement.
    """
    if not one or not other:
        return
    for name in DECIDING:
        if one.get(name) != other.get(name):
            raise InputError(
                f"the answers were judged in different ways ({name}: {one.get(name)!r} and {other.get(name)!r}): their "
                "figures are different metrics"
            )
