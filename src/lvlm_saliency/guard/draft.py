"""One text in progress: its tokens as text, and where in it words and sentences stand."""

from __future__ import annotations

import re
from typing import Any

from lvlm_saliency.guard.sentences import clause_start, closed, sentence_ends
from lvlm_saliency.guard.vocabulary import Vocabulary
from lvlm_saliency.guard.words import Mention, mentions
from lvlm_saliency.model.thinking import Ear
from lvlm_saliency.tracing.result import token_text

CONTEXT = 16
"""Tokens before one that its text may depend on."""
_INDEFINITE = re.compile(
    r"\b(?:a|an|another|one|two|three|four|five|six|several|some|many|few)(?:\s+[^\W\d_]+){0,2}\s*$", re.IGNORECASE
)


class Draft:
    """The tokens of an answer, without its prompt. What stands before token `start` (character `begin`) is settled: it
    is never taken back. What stands behind is the sentence in question, and what was written since.

    With an `ear` for a model that thinks: thinking and its marks are `aside`, and the answer in question begins at the
    token `first` (character `opening`), behind the last of them that is settled."""

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary, ear: Ear | None = None):
        self.tokenizer, self.vocabulary, self.ear = tokenizer, vocabulary, ear
        self.special = set(tokenizer.all_special_ids)
        self.ids: list[int] = []
        self.pieces: list[str] = []
        self.aside: list[bool] = []
        self.text = ""
        self.start = self.begin = self.first = self.opening = 0

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, token: int) -> None:
        self.ids.append(token)
        special = token in self.special
        piece = "" if special else token_text(self.tokenizer, self.ids[-CONTEXT:])
        self.pieces.append(piece)
        self.text += piece
        self.aside.append(False)
        if self.ear is not None:
            known = self.ear.hear(self.tokenizer.decode([token]) if special else piece)
            self.aside[len(self.aside) - known :] = [True] * known

    def cut(self, length: int) -> None:
        """Take back all but the first `length` tokens."""
        self.text = self.text[: sum(map(len, self.pieces[:length]))]
        del self.ids[length:], self.pieces[length:], self.aside[length:]
        if self.ear is not None:
            self.ear.forget(length)

    @property
    def thinking(self) -> bool:
        """Whether what comes next is thinking."""
        return self.ear is not None and self.ear.thinking

    @property
    def limit(self) -> int | None:
        """The character with which thinking (or a mark of it) begins behind the sentence in question, if it does."""
        if True not in self.aside[self.start :]:
            return None
        return sum(map(len, self.pieces[: self.aside.index(True, self.start)]))

    def skip(self) -> str:
        """Settle the thinking that stands where the sentence in question would begin. Returns its text."""
        begin, length = self.begin, self.start
        while length < len(self.ids) and self.aside[length]:
            length += 1
        if length > self.start:
            self.start = self.first = length
            self.begin = self.opening = sum(map(len, self.pieces[:length]))
        return self.text[begin : self.begin]

    @property
    def sentence(self) -> str:
        """What is not settled yet."""
        return self.text[self.begin :]

    @property
    def in_sentence(self) -> bool:
        """Whether the next token belongs to the sentence that begins at `start`: it has not been closed."""
        return not self.sentence.strip() or (not closed(self.sentence) and not sentence_ends(self.text, self.begin))

    @property
    def answer(self) -> str:
        """The text behind the last thinking and its mark; all of it where there is none."""
        return self.text[self.opening :]

    @property
    def may_end(self) -> bool:
        """Whether a text may stop here."""
        return bool(self.answer.strip()) and closed(self.answer)

    @property
    def ends_in_word(self) -> bool:
        """Whether the last token of the answer is a whole word by itself, which no sentence says twice in a row."""
        return len(self.pieces) > self.first and re.fullmatch(r"\s[^\W\d_]+", self.pieces[-1]) is not None

    @property
    def introduces(self) -> bool:
        """Whether an object named next would be introduced ("a", "two", "another red"), not referred to ("the")."""
        return bool(_INDEFINITE.search(self.sentence))

    def token_at(self, character: int) -> int:
        """The number of the token that holds this character of the text."""
        end = 0
        for number, piece in enumerate(self.pieces):
            end += len(piece)
            if character < end:
                return number
        return len(self.pieces)

    def last_shown(self, length: int) -> int:
        """Of the first `length` tokens, how many there are up to the last that has text: a mark of the end has none."""
        return next((at for at in range(length, 0, -1) if self.pieces[at - 1]), 0)

    def first_token_from(self, character: int) -> tuple[int, int]:
        """The first token whose words begin at this character or behind it, and where the token begins: with the blank
        before them, where it has one."""
        at = 0
        for number, piece in enumerate(self.pieces):
            if piece and at + len(piece) - len(piece.lstrip()) >= character:
                return number, at
            at += len(piece)
        return len(self.pieces), at

    def mentions(self, final: bool) -> list[Mention]:
        """The object words from `begin` on."""
        limit = self.limit
        return mentions(self.text[:limit], self.vocabulary, self.begin, final=final or limit is not None)

    def was_introduced(self, mention: Mention) -> bool:
        """Whether the mention introduces its object."""
        return bool(_INDEFINITE.search(self.text[self.begin : mention.start]))

    def sentence_end(self, final: bool) -> int | None:
        """The character behind the sentence in question; None where it has not ended."""
        limit = self.limit
        return next(iter(sentence_ends(self.text[:limit], self.begin, final=final or limit is not None)), None)

    def clause(self, mention: Mention) -> int:
        """The token at which the clause with this mention begins."""
        return self.first_token_from(clause_start(self.text, self.begin, mention.start))[0]

    def settle(self, end: int) -> None:
        """What stands before the character `end` is settled."""
        if end >= len(self.text):  # blanks at the very end belong to what stands, not to a sentence to come
            self._settled(len(self.pieces), len(self.text))
            return
        start, begin = self.first_token_from(end)
        if start <= self.start:  # the sentence is a token of blanks, in which it also ends
            start = self.token_at(end - 1) + 1
            begin = sum(map(len, self.pieces[:start]))
        self._settled(start, begin)

    def _settled(self, start: int, begin: int) -> None:
        """Up to the token `start`, but not into a thinking that begins before it."""
        if True in self.aside[self.start : start]:
            start = self.aside.index(True, self.start)
            begin = sum(map(len, self.pieces[:start]))
        self.start, self.begin = start, begin
