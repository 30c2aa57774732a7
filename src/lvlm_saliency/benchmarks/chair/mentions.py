"""The objects that a caption mentions: tokens, normal forms, two-word names, nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lvlm_saliency.errors import SettingError, did_you_mean

from .lemmas import lemmas
from .singular import singular
from .synonyms import Synonyms, merge_two_words
from .tokenizer import tokenize


def _singulars(tokens: list[str]) -> list[str]:
    return [singular(token) for token in tokens]


VARIANTS: dict[str, Callable[[list[str]], list[str]]] = {"official": _singulars, "lemmatizer": lemmas}


@dataclass(frozen=True)
class Mentions:
    """`words`: the object words in reading order, repeats kept; `nodes`: the node word of each; `token_index`: the
    official position of each in the tokens before two-word names are made one; `tokens`: normalised, names made one."""

    words: list[str]
    nodes: list[str]
    token_index: list[int]
    tokens: list[str]


def find_mentions(caption: str, synonyms: Synonyms, variant: str = "official") -> Mentions:
    """What `caption` mentions, under the `official` (singularising) or the `lemmatizer` variant.

    When a caption holds "toilet" and "seat", seats are taken for toilet seats and dropped. The official code drops them
    from the words and not from the positions, so positions after a dropped seat are shifted; they are so here too
    (docs/scorers.md, quirk 4).
    Raises `SettingError` for an unknown variant, `InputError` when the lemmatizer's data is not installed.
    """
    tokens, first = merge_two_words(normaliser(variant)(tokenize(caption)))
    words = [tokens[at] for at in counted(tokens)]
    found = [(word, first[at]) for at, word in enumerate(words) if word in synonyms.node_of]
    return Mentions(
        words=[word for word, _ in found],
        nodes=[synonyms.node_of[word] for word, _ in found],
        token_index=[at for _, at in found],
        tokens=tokens,
    )


def counted(tokens: list[str]) -> list[int]:
    """Which tokens may be mentions: all, but no seat in a caption that also names a toilet."""
    drop = {"toilet", "seat"} <= set(tokens)
    return [at for at, token in enumerate(tokens) if not (drop and token == "seat")]


def normaliser(variant: str) -> Callable[[list[str]], list[str]]:
    """How `variant` normalises a caption's tokens; `SettingError` for a name that is none."""
    if variant not in VARIANTS:
        raise SettingError(f"no CHAIR variant {variant!r}{did_you_mean(variant, VARIANTS)}")
    return VARIANTS[variant]
