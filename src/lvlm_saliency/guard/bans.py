"""Bans objects: finds the tokens that would complete a name of a banned object, and takes them out of the scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lvlm_saliency.guard.sentences import BEGINNERS
from lvlm_saliency.guard.vocabulary import Vocabulary

if TYPE_CHECKING:
    from lvlm_saliency.guard.row import Row

LEFT = (" a", "\n", ".", "(", '"')
"""What may precede a word: a tokenizer may encode the word differently after each."""
OWN_SHARE = 0.8
"""If at least this share of the names that begin with a token is banned, the token itself is banned; otherwise each
banned name is stopped at its last token."""


class Spellings:
    """A vocabulary as token ids: for each canonical name, all distinct token sequences that spell it."""

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary):
        self.tokenizer, self.vocabulary = tokenizer, vocabulary
        unknown = tokenizer.unk_token_id
        words = {
            name: [form for surface in surfaces for form in (surface, surface.capitalize())]
            for name, surfaces in vocabulary.of_name.items()
        }
        behind = self._behind([form for forms in words.values() for form in forms])
        self.of_name = {
            name: frozenset(ids for form in forms for ids in behind[form] if unknown not in ids)
            for name, forms in words.items()
        }
        # Empty for a tokenizer that ignores case: there no token marks the beginning of a sentence.
        self.beginners = self._beginning(BEGINNERS) - self._beginning(map(str.lower, BEGINNERS))
        self.firsts: dict[int, dict[str, int]] = {}
        for name, sequences in self.of_name.items():
            for ids in sequences:
                uses = self.firsts.setdefault(ids[0], {})
                uses[name] = uses.get(name, 0) + 1

    def _beginning(self, words: Iterable[str]) -> set[int]:
        """The first tokens of these words, at the beginning of a text and within it."""
        words = list(words)
        before, *written = self._encoded([" a", *(f" a {word}" for word in words)])
        found = {ids[0] for ids in self._encoded(words)} | {ids[len(before)] for ids in written}
        return found - {self.tokenizer.unk_token_id}

    def _behind(self, words: Sequence[str]) -> dict[str, set[tuple[int, ...]]]:
        """For each word, the token ids that it adds after each of `LEFT`. The word alone may be encoded differently."""
        found: dict[str, set[tuple[int, ...]]] = {word: set() for word in words}
        for left in LEFT:
            before = self._encoded([left])[0]
            blank = " " if left == " a" else ""
            for word, whole in zip(found, self._encoded([left + blank + word for word in found]), strict=True):
                if whole[: len(before)] == before and len(whole) > len(before):
                    found[word].add(tuple(whole[len(before) :]))
        return found

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    def banned(self, names: Iterable[str], ids: Sequence[int]) -> set[int]:
        """The tokens that must not follow a text that ends in `ids`, so that none of `names` gets written."""
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


def without_banned(
    scores: Tensor, rows: Sequence[Row], writing: Sequence[bool], spellings: Spellings, ends: Iterable[int]
) -> Tensor:
    """The scores `[B, V]` with -inf for tokens that are banned in a rewritten sentence.

    Args:
        scores: of the next token of each row; not changed.
        rows: the samples.
        writing: whether a token is chosen for it.
        spellings: the vocabulary as token ids.
        ends: end-of-sequence tokens.
    """
    found = scores
    for n, (row, alive) in enumerate(zip(rows, writing, strict=True)):
        if not alive or not row.redoing:
            continue
        found = scores.clone() if found is scores else found
        found[n] = _without(found[n], row, spellings, ends)
    return found


def _without(scores: Tensor, row: Row, spellings: Spellings, ends: Iterable[int]) -> Tensor:
    draft, names, fixed = row.draft, row.forbidden, set(row.fixed)
    if not draft.may_end or (row.plan is not None and row.plan.more):
        fixed |= set(ends)
    if draft.ends_in_word:
        fixed.add(draft.ids[-1])
    if draft.answer[-1:].isalpha():
        fixed |= spellings.beginners  # a new sentence may begin only after the last one has ended
    while True:
        ids = sorted(fixed | spellings.banned(names, draft.ids))
        left = scores.index_fill(0, torch.tensor(ids, device=scores.device, dtype=torch.long), -torch.inf)
        if bool((left > -torch.inf).any()) or not (names or fixed):
            return left
        row.tally.lifted += 1  # no token is left, so the newest ban is lifted first
        fixed, names = (fixed, names[:-1]) if names else (set(), names)
