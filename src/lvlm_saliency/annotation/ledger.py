"""Two files that one writer lets grow together: the rows, and a line for every item that is done.

An item's line says where its rows end in the other file. Rows are written first; so whatever a kill leaves behind, the
items' lines are true of the rows before that end, and what stands after it is cut off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import append_bytes
from lvlm_saliency.files import json_lines as store

ROWS, ITEMS = "rows.jsonl", "items.jsonl"


class Ledger:
    """The files of a folder.

    Args:
        together: how many items are added at a time (fewer at the end).
        total: number of all items.
    """

    def __init__(self, folder: str | Path, together: int, total: int):
        self.rows, self.items = Path(folder) / ROWS, Path(folder) / ITEMS
        self.together, self.total = together, total

    def mend(self) -> int:
        """Cut off what a kill left half done; how many items are done, whole batches of them.

        Raises:
            InputError: a file is damaged, or the two do not belong together.
        """
        store.mend(self.items)
        lines = store.read_lines(self.items, _fault)
        if [line["index"] for line in lines] != list(range(len(lines))) or len(lines) > self.total:
            raise InputError(f"{self.items} is damaged (its items are not those of the input); start a new --out")
        done = len(lines) if len(lines) == self.total else len(lines) // self.together * self.together
        end = lines[done - 1]["end"] if done else 0
        there = self.rows.stat().st_size if self.rows.exists() else 0
        if there < end:
            raise InputError(f"{self.rows} is shorter than {self.items} says; start a new --out")
        # The items' lines first: should this be killed as well, the next start finds rows too many, which are cut.
        if done < len(lines):
            store.write_whole(self.items, "".join(store.as_json(line) + "\n" for line in lines[:done]))
        if there > end:
            os.truncate(self.rows, end)
        return done

    def add(self, found: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]) -> None:
        """(the item's line, its rows) of the next items, in order."""
        end = self.rows.stat().st_size if self.rows.exists() else 0
        text, lines = b"", []
        for line, rows in found:
            text += b"".join(store.as_json(row).encode() + b"\n" for row in rows)
            lines.append({**line, "rows": len(rows), "end": end + len(text)})
        append_bytes(self.rows, text)
        store.append(self.items, lines)

    def lines(self) -> Iterator[dict[str, Any]]:
        """The lines of the items that are done."""
        yield from store.read_lines(self.items, _fault)


def _fault(line: Mapping[str, Any]) -> str:
    numbers = [line.get(name) for name in ("index", "rows", "end")]
    return "" if all(type(one) is int and one >= 0 for one in numbers) else "no line of an item"
