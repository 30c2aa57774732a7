"""The question whether an object is in the picture, as POPE asks it, and how its answer is read."""

from __future__ import annotations

from typing import Any

QUESTION = "Is there {article} {name} in the image?"


def yes_and_no(tokenizer: Any) -> tuple[list[int], list[int]] | None:
    """The tokens that begin "yes" and those that begin "no", in any spelling; None where the tokenizer lacks either."""
    found: dict[str, set[int]] = {"yes": set(), "no": set()}
    for word, ids in found.items():
        for written in (word, word.capitalize(), f" {word}", f" {word.capitalize()}"):
            tokens = tokenizer(written, add_special_tokens=False)["input_ids"]
            ids |= {token for token in tokens[-1:] if tokenizer.decode([token]).strip().lower() == word}
    return (sorted(found["yes"]), sorted(found["no"])) if all(found.values()) else None


def question(name: str) -> str:
    """POPE's question about an object."""
    return QUESTION.format(article="an" if name[:1].lower() in "aeiou" else "a", name=name)
