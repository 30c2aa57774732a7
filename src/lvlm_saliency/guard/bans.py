"""Words that may not be written: the tokens that would complete a surface of a banned object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lvlm_saliency.guard.vocabulary import Vocabulary

LEFT = (" a", "\n", ".", "(", '"')
"""What may stand before a word: tokenizers write it with another first token behind each."""
OWN_SHARE = 0.8
"""A token that begins an object's name is banned itself where this share of the names that it begins is banned; else
the name is stopped at its last token."""


class Spellings:
    """A vocabulary in a tokenizer's ids: by canonical name the sequences that write it, each once."""

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary):
        self.tokenizer, self.vocabulary = tokenizer, vocabulary
        unknown = tokenizer.unk_token_id
        self.of_name: dict[str, frozenset[tuple[int, ...]]] = {}
        for name, surfaces in vocabulary.of_name.items():
            written = (form for surface in surfaces for form in (surface, surface.capitalize()))
            found = {ids for form in written for left in LEFT if (ids := self._ids(left, form))}
            self.of_name[name] = frozenset(ids for ids in found if unknown not in ids)
        self.firsts: dict[int, dict[str, int]] = {}
        for name, sequences in self.of_name.items():
            for ids in sequences:
                uses = self.firsts.setdefault(ids[0], {})
                uses[name] = uses.get(name, 0) + 1

    def _ids(self, left: str, word: str) -> tuple[int, ...]:
        """The ids that `word` adds behind `left`: never those of the word alone, which may begin otherwise."""
        joined = left + (" " if left == " a" else "") + word
        whole, before = _encoded(self.tokenizer, joined), _encoded(self.tokenizer, left)
        if whole[: len(before)] == before:
            return tuple(whole[len(before) :])
        return ()

    def banned(self, names: Iterable[str], ids: Sequence[int]) -> set[int]:
        """The tokens that may not follow a text that ends in `ids`, for none of `names` to be written."""
        names = frozenset(names)
        found: set[int] = set()
        for name in names:
            for sequence in self.of_name.get(name, ()):
                *before, last = sequence
                uses = self.firsts[sequence[0]]
                if sum(count for other, count in uses.items() if other in names) >= OWN_SHARE * sum(uses.values()):
                    found.add(sequence[0])
                elif not before or list(ids[-len(before) :]) == before:
                    found.add(last)
        return found


def _encoded(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
