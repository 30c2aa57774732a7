"""Reads answers of models from JSON lines or a JSON list, with the place of each record for error messages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.files import parse_json, read_json, read_text
from lvlm_saliency.files.json_values import DECODERS, check_value

__all__ = ["Problems", "Rows", "image_key", "place", "read_json", "read_rows", "read_text", "source"]


class Rows(list[Any]):
    """Records (dicts) of one file, each with the line that it began on.

    `unread` holds the indices of those that stand for a line that could not be read and was skipped: an empty dict
    keeps its place, for whoever pairs two files by order.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]], source: str, lines: Sequence[int]) -> None:
        super().__init__(records)
        self.source = source
        self.lines = list(lines)
        self.unread: set[int] = set()


def place(records: Sequence[Any], index: int, name: str) -> str:
    """Where record `index` came from: `file:line`, or `name[index]` for records that no file held."""
    if isinstance(records, Rows):
        return f"{records.source}:{records.lines[index]}"
    return f"{name}[{index}]"


def source(records: Sequence[Any], name: str) -> str:
    """The file that the records came from, or `name`."""
    return records.source if isinstance(records, Rows) else name


class Problems:
    """What to do with a record that cannot be used: raise at once, or skip it and count why.

    `errors` is "raise" or "skip"; `skipped` counts the skips by kind.
    """

    def __init__(self, errors: str = "raise") -> None:
        if errors not in {"raise", "skip"}:
            raise SettingError(f"errors={errors!r} is not known; use 'raise' or 'skip'")
        self.skip = errors == "skip"
        self.skipped: Counter[str] = Counter()

    def report(self, kind: str, message: str, count: int = 1) -> None:
        """Count `count` records as skipped for `kind`, or raise `InputError(message)`."""
        if not self.skip:
            raise InputError(message)
        self.skipped[kind] += count


def read_rows(path: str | Path, problems: Problems | None = None, *, keep_places: bool = False) -> Rows:
    """Every record of `path`: JSON lines, a JSON list, or CHAIR's first layout `{"imgToEval": {...}}`.

    A byte-order mark, CRLF and blank lines are ignored. A line that is no JSON object is a problem
    ("malformed"), and once skipped it is gone, unless `keep_places`; a file that is missing, empty or not UTF-8 raises
    `InputError` always.
    """
    problems = problems or Problems()
    text = read_text(path)
    start = text.lstrip()[:1]
    if not start:
        raise InputError(f"{path}: the file is empty")
    if start == "[":
        pairs = _list_items(text)
    elif '"imgToEval"' in text[:4096] and (whole := _whole_object(text)) is not None:
        pairs = ((1, record) for record in whole["imgToEval"].values())
    else:
        pairs = _lines(text)
    rows = Rows([], str(path), [])
    for line, record in pairs:
        usable = isinstance(record, dict)
        if not usable:
            found = record if isinstance(record, _NotJson) else f"expected a JSON object, found {type(record).__name__}"
            problems.report("malformed", f"{path}:{line}: {found}")
        if usable or keep_places:
            if not usable:
                rows.unread.add(len(rows))
            rows.append(record if usable else {})
            rows.lines.append(line)
    return rows


class _NotJson(str):
    """Why a line could not be read."""


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    # Not splitlines(): JSON strings may hold U+2028 and its kin unescaped.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, parse_json(line, finite=False)
        except (ValueError, RecursionError) as error:
            yield number, _NotJson(f"not JSON ({error})")


def _list_items(text: str) -> Iterator[tuple[int, Any]]:
    """Items of a JSON list one by one, so that each is known by its line."""
    decoder = json.JSONDecoder(**DECODERS)
    position = _skip_blanks(text, text.index("[") + 1)
    counted, line = 0, 1
    while text[position : position + 1] != "]":
        line += text.count("\n", counted, position)
        counted = position
        try:
            item, end = decoder.raw_decode(text, position)
            check_value(text[position:end], item)
        except (ValueError, RecursionError) as error:
            yield line, _NotJson(f"not JSON ({error}); the list cannot be read from here on")
            return
        yield line, item
        position = _skip_blanks(text, end)
        if text[position : position + 1] == ",":
            position = _skip_blanks(text, position + 1)
        elif text[position : position + 1] != "]":
            yield line, _NotJson("the list is cut off after this item")
            return


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _whole_object(text: str) -> dict[str, Any] | None:
    try:
        whole = parse_json(text, finite=False)
    except (ValueError, RecursionError):
        return None  # JSON lines whose first record has such a key
    return whole if isinstance(whole, dict) and isinstance(whole.get("imgToEval"), dict) else None


def image_key(value: Any) -> str | None:
    """One spelling for an image: 42, "42" and "COCO_val2014_000000000042.jpg" are all "42"; None when it is no id."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        return None
    text = str(value)
    if text.startswith("COCO_"):
        text = text.rsplit("_", 1)[-1].split(".", maxsplit=1)[0]
    return str(int(text)) if text.isascii() and text.isdigit() else text
