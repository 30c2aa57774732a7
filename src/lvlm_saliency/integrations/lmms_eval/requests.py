"""What lmms-eval sends, as plain data: settings of a task, a conversation, batches. No import of lmms-eval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvlm_saliency.chat import Message, Query
from lvlm_saliency.errors import InputError, SettingError

TAKEN = frozenset({"until", "max_new_tokens", "temperature", "top_p", "num_beams", "do_sample"})
IGNORED = frozenset({"image_aspect_ratio"})
"""Settings of LLaVA's own code, which have no counterpart in transformers."""
AGAIN = 2**32
"""Between the numbers of the answers to one document: more than any task has documents."""
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Wanted:
    """How a task wants its answers: the settings of `generate`, and texts that end an answer."""

    settings: Mapping[str, Any]
    until: tuple[str, ...]


def methods_of(written: Any) -> str:
    """The methods in `model_args`, where `;` stands for the comma at which lmms-eval splits."""
    return str(written).replace(";", ",")


def wanted(given: Mapping[str, Any], *, draws: bool, usual_tokens: int = 128) -> Wanted:
    """The generation settings of a task.

    Args:
        given: its `generation_kwargs`.
        draws: whether the methods decide each token and so need sampling; else a task samples if it says so.
        usual_tokens: the limit where the task names none.

    Raises:
        SettingError: a setting that is not served: better than figures that were made without it.
    """
    if unknown := sorted(set(given) - TAKEN - IGNORED):
        raise SettingError(f"lmms-eval asks for generation_kwargs that are not served: {', '.join(unknown)}")
    if (beams := given.get("num_beams")) not in (None, 1):
        raise SettingError(f"num_beams={beams}: name the method beam in model_args (methods=beam:num_beams={beams})")
    until = given.get("until") or ()
    # Blank stops are lmms-eval's defaults for language models; they end no description.
    stops = tuple(stop for stop in ([until] if isinstance(until, str) else until) if stop.strip())
    temperature = float(given.get("temperature") or 0)
    # A temperature beside do_sample=False (MM-Vet's task) switches nothing on.
    sampled = draws or (temperature > 0 and given.get("do_sample") is not False)
    settings: dict[str, Any] = {
        "max_new_tokens": int(given.get("max_new_tokens") or usual_tokens),
        "num_beams": 1,
        "do_sample": sampled,
    }
    heat = {"temperature": temperature or 1.0, "top_p": float(given.get("top_p") or 1.0), "top_k": 0}
    return Wanted({**settings, **(heat if sampled else dict.fromkeys(heat))}, stops)


def query_of(messages: Iterable[tuple[str, Iterable[tuple[str, Any]]]]) -> Query:
    """A conversation as a query; `messages`: role and parts, each part a kind and its value.

    Raises:
        InputError: a part that is neither text nor picture, or a role that is none.
    """
    turns = []
    for role, parts in messages:
        if role not in ROLES:
            raise InputError(f"lmms-eval sent a message of {role!r}: it is one of {', '.join(ROLES)}")
        content = []
        for kind, value in parts:
            if kind == "text":
                content.append(str(value))
            elif kind == "image":
                content.append(value.convert("RGB"))
            else:
                raise InputError(f"lmms-eval sent {kind}: this model answers questions about pictures and texts")
        turns.append(Message(role, content))
    return Query(messages=turns)


def batches(kinds: Sequence[tuple[str, bool]], size: int) -> list[list[int]]:
    """Indices of requests that may share a batch: of the same settings, all with pictures or all without; in order."""
    groups: dict[tuple[str, bool], list[int]] = {}
    for index, kind in enumerate(kinds):
        groups.setdefault(kind, []).append(index)
    return [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]


def numbers(documents: Sequence[tuple[str, str, int]]) -> list[int]:
    """The number of each request, on which seeded draws depend: its document's, whatever process asks for it.

    Where a document is asked for again (`--repeats`), every answer has draws of its own; else all would be one text.

    Args:
        documents: task, split and document of each request.
    """
    seen: Counter[tuple[str, str, int]] = Counter()
    found = []
    for document in documents:
        found.append(document[2] + seen[document] * AGAIN)
        seen[document] += 1
    return found


def cut(text: str, until: Sequence[str]) -> str:
    """The text up to the first of the stops."""
    ends = [place for stop in until if (place := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text
