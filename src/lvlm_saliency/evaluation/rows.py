"""Checks on the lines of a run's files: answers to items, and the cost of batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvlm_saliency.benchmarks.base import Item
from lvlm_saliency.evaluation.cost import SUMS
from lvlm_saliency.files.kinds import is_number, is_whole

ENDS = ("stop", "length")


def check_answer(row: Mapping[str, Any]) -> str:
    """What is wrong with a line of items/, nothing when it can be used."""
    if not is_whole(row.get("index")):
        return "index is no whole number from 0"
    texts = ("id", "image", "error") if "error" in row else ("id", "image", "text")
    if strange := [name for name in texts if not isinstance(row.get(name), str)]:
        return f"{strange[0]} is no text"
    return "" if "error" in row else _check_written(row)


def _check_written(row: Mapping[str, Any]) -> str:
    ids = row.get("token_ids")
    if not isinstance(ids, list) or not all(map(is_whole, ids)):
        return "token_ids are no whole numbers from 0"
    if not isinstance(row.get("thinking", ""), str):
        return "thinking is no text"
    if row.get("finish") not in ENDS:
        return f"finish is none of {', '.join(ENDS)}"
    strange = [name for name in ("rejected", "fallbacks") if not is_whole(row.get(name, 0))]
    if strange:
        return f"{strange[0]} is no whole number from 0"
    judged = row.get("judged", [])
    return "" if isinstance(judged, list) and all(map(_is_judged, judged)) else "judged holds no words"


def _is_judged(word: Any) -> bool:
    """Whether this is a word that a guard judged: name, sentence, attempt, objects before it, acted on."""
    if not isinstance(word, list) or len(word) != 5:
        return False
    name, *places, acted = word
    return isinstance(name, str) and all(map(is_whole, places)) and isinstance(acted, bool)


def check_text(row: Mapping[str, Any]) -> str:
    """What is wrong with a text that a study keeps, nothing when it can be used."""
    if not is_whole(row.get("index")):
        return "index is no whole number from 0"
    if strange := [name for name in ("image", "text") if not isinstance(row.get(name), str)]:
        return f"{strange[0]} is no text"
    ids = row.get("token_ids")
    return "" if isinstance(ids, list) and all(map(is_whole, ids)) else "token_ids are no whole numbers from 0"


def check_cost(row: Mapping[str, Any]) -> str:
    """What is wrong with a line of cost/, nothing when it can be used."""
    for name in (*SUMS, "peak_bytes"):
        if not _is_amount(row.get(name)):
            return f"{name} is no number from 0"
    items = row.get("items")
    if not isinstance(items, list) or not all(map(is_whole, items)):
        return "items are no whole numbers from 0"
    for name in ("batch_size", "rows_per_token"):
        if not is_whole(row.get(name)) or row[name] < 1:
            return f"{name} is no whole number from 1"
    return ""


def check_item(row: Mapping[str, Any], items: Sequence[Item]) -> str:
    """What keeps an answer from belonging to its item, nothing when it does."""
    if row["index"] >= len(items):
        return f"item {row['index']}, and the list ends at {len(items) - 1}"
    item = items[row["index"]]
    if (row["id"], row["image"]) != (item.id, item.image):
        return f"item {row['index']} is {item.id!r} on {item.image!r}, not {row['id']!r} on {row['image']!r}"
    return ""


def _is_amount(value: Any) -> bool:
    return is_number(value) and value >= 0
