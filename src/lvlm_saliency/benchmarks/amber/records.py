"""AMBER's files: annotations by record id, and the responses that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.records import Problems, place, read_rows, read_text

Records = Sequence[Mapping[str, Any]]
GENERATIVE = "generative"


def read_annotations(annotations: Records | str | Path) -> dict[int, Mapping[str, Any]]:
    """`{record id: annotation}`; `InputError` names a record without id or type."""
    rows = read_rows(annotations) if isinstance(annotations, str | Path) else annotations
    by_id: dict[int, Mapping[str, Any]] = {}
    for index, row in enumerate(rows):
        if not isinstance(row.get("id"), int) or not isinstance(row.get("type"), str):
            raise InputError(f"{place(rows, index, 'annotations')}: an annotation needs an id and a type")
        by_id[row["id"]] = row
    return by_id


def matched(
    responses: Records | str | Path,
    annotations: Mapping[int, Mapping[str, Any]],
    wanted: Callable[[str], bool],
    problems: Problems,
) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """`(id, response, annotation)` for the responses to records whose type is `wanted`.

    Responses to records of the other kind are passed over: they belong to the other scorer. A malformed record, an
    unknown id and a second response to one record are problems. An empty response is a response.
    """
    rows = read_rows(responses, problems) if isinstance(responses, str | Path) else responses
    seen: set[int] = set()
    for index, row in enumerate(rows):
        where = place(rows, index, "responses")
        number = row.get("id") if isinstance(row, Mapping) else None
        if isinstance(number, bool) or not isinstance(number, int) or not isinstance(row.get("response"), str):
            problems.report("malformed", f"{where}: needs a whole-number id and a response that is text")
        elif number not in annotations:
            problems.report("unknown_record", f"{where}: no annotation has the id {number}")
        elif not wanted(annotations[number]["type"]):
            continue
        elif number in seen:
            problems.report("duplicate", f"{where}: a second response to record {number}")
        else:
            seen.add(number)
            yield number, row["response"], annotations[number]


def read_safe_words(safe_words: Sequence[str] | str | Path) -> frozenset[str]:
    """The words that are never hallucinated, from a list or from the official file of one word a line."""
    if isinstance(safe_words, str | Path):
        safe_words = read_text(safe_words).split("\n")
    return frozenset(word for word in safe_words if word)
