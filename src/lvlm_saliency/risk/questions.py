"""The question whether something is in the picture, as POPE asks it (arXiv 2305.10355), and the tokens of an answer."""

from __future__ import annotations

from typing import Any

QUESTION = "Is there {article} {name} in the image?"


def question(name: str) -> str:
    """POPE's question about an object."""
    return QUESTION.format(article="an" if name[:1].lower() in "aeiou" else "a", name=name)


def yes_and_no(tokenizer: Any) -> tuple[list[int], list[int]] | None:
    """The tokens that begin a yes and a no, however written; None where the tokenizer has not both."""
    found: dict[str, set[int]] = {"yes": set(), "no": set()}
    for word, ids in found.items():
        for written in (word, word.capitalize(), f" {word}", f" {word.capitalize()}"):
            tokens = tokenizer(written, add_special_tokens=False)["input_ids"]
            ids |= {token for token in tokens[-1:] if tokenizer.decode([token]).strip().lower() == word}
    return (sorted(found["yes"]), sorted(found["no"])) if all(found.values()) else None


def first_of_yes_and_no(tokenizer: Any) -> tuple[list[int], list[int]] | None:
    """Where a tokenizer writes yes or no in pieces: the tokens that begin each; None where some begin both."""
    found: dict[str, set[int]] = {"yes": set(), "no": set()}
    for word, ids in found.items():
        for written in (word, word.capitalize(), f" {word}", f" {word.capitalize()}"):
            tokens = tokenizer(written, add_special_tokens=False)["input_ids"]
            words = [token for token in tokens if tokenizer.decode([token]).strip()]
            ids |= set(words[:1])
    apart = all(found.values()) and not found["yes"] & found["no"]
    return (sorted(found["yes"]), sorted(found["no"])) if apart else None
