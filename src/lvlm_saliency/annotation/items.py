"""The input: JSON lines of pictures, prompt and answer, checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import read_rows

LAYOUT = '{"image": "cat.jpg", "prompt": "...", "answer": "..."}'


@dataclass(frozen=True)
class Words:
    """Characters `[start, end)` of an answer that name an object. negated: the text says that it is not there."""

    start: int
    end: int
    name: str
    negated: bool = False


@dataclass(frozen=True)
class Item:
    """One text that is to be annotated.

    Attributes:
        index: its number in the input, from 0.
        id: what the input calls it; its number where it has no name.
        images: paths of its pictures, in the order in which the model sees them.
        names: the pictures as the input names them.
        prompt, answer: what was asked, and what the system wrote.
        words: the words to judge, in reading order; None where they are to be found.
        where: file and line, for messages.
    """

    index: int
    id: str | int
    images: tuple[Path, ...]
    names: tuple[str, ...]
    prompt: str
    answer: str
    words: tuple[Words, ...] | None = None
    where: str = ""


def read_items(path: str | Path, images: str | Path | None = None) -> list[Item]:
    """The texts of a file, in its order: one JSON object a line (or a JSON list of them),

        {"image": "cat.jpg", "prompt": "Describe it.", "answer": "A cat and a dog.", "id": 7}

    `image` may be a list of several; `answer` may be called `text`. `spans`, where there are any, are the words to
    judge: `[{"start": 2, "end": 5, "name": "cat"}, ...]`, in characters of the answer, name optional; further keys of
    lines and spans are not read, so a file of labelled texts (`study --labels FILE`) can be annotated as it is.

    Args:
        images: folder of the pictures; default the file's own.

    Raises:
        InputError: the file, or a line of it, cannot be used; the message says which and why.
    """
    rows = read_rows(path)
    folder = Path(path).parent if images is None else Path(images)
    return [
        _item(row, at, f"{path}:{line}", folder) for at, (row, line) in enumerate(zip(rows, rows.lines, strict=True))
    ]


def _item(row: Mapping[str, Any], index: int, where: str, folder: Path) -> Item:
    answer = row.get("answer", row.get("text"))
    prompt = row.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(f"{where}: 'prompt' must be text that is not empty; a line is {LAYOUT}")
    if not isinstance(answer, str):
        raise InputError(f"{where}: 'answer' must be text; a line is {LAYOUT}")
    given = row.get("image", row.get("images"))
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise InputError(f"{where}: 'image' must be the name of a picture, or a list of names; a line is {LAYOUT}")
    paths = tuple(folder / name for name in names)
    for name, file in zip(names, paths, strict=True):
        if not file.is_file():
            raise InputError(f"{where}: no picture {name!r} in {folder}; give its folder with --images DIR")
    called = row.get("id", index)
    if isinstance(called, bool) or not isinstance(called, (str, int)):
        raise InputError(f"{where}: 'id' must be text or a whole number, got {called!r}")
    words = None if row.get("spans") is None else _words(row["spans"], answer, where)
    return Item(index, called, paths, tuple(names), prompt, answer, words, where)


def _words(given: Any, answer: str, where: str) -> tuple[Words, ...]:
    if not isinstance(given, list):
        raise InputError(f"{where}: 'spans' must be a list of start, end and name")
    found = sorted((_word(span, answer, f"{where}: span {number}") for number, span in enumerate(given, 1)), key=_place)
    for one, other in pairwise(found):
        if other.start < one.end:
            raise InputError(f"{where}: two spans overlap at character {other.start}; keep one of them")
    return tuple(found)


def _place(word: Words) -> int:
    return word.start


def _word(span: Any, answer: str, where: str) -> Words:
    start, end = (span.get("start"), span.get("end")) if isinstance(span, Mapping) else (None, None)
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(answer):
        raise InputError(f"{where} needs start and end, whole numbers within the answer's {len(answer)} characters")
    name = span.get("name", answer[start:end])
    if not isinstance(name, str) or not name.strip() or not answer[start:end].strip():
        raise InputError(f"{where}: its name, and the characters it covers, must be text that is not empty")
    return Words(start, end, name.strip().lower())


def batches(count: int, together: int) -> Sequence[range]:
    """Numbers of the items that are read together. They do not depend on who reads them, or in which order."""
    return [range(first, min(first + together, count)) for first in range(0, count, together)]
