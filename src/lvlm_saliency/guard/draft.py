"""One text in progress: its tokens, its characters, and the positions of words and sentences in it."""

from __future__ import annotations

import re
from typing import Any

from lvlm_saliency.guard.sentences import clause_start, closed, sentence_ends
from lvlm_saliency.guard.vocabulary import Vocabulary
from lvlm_saliency.guard.words import Mention, mentions
from lvlm_saliency.model.thinking import Ear
from lvlm_saliency.tracing.result import token_text

CONTEXT = 16
"""Number of preceding tokens that the text of a token may depend on."""
_INDEFINITE = re.compile(
    r"\b(?:a|an|another|one|two|three|four|five|six|several|some|many|few)(?:\s+[^\W\d_]+){0,2}\s*$", re.IGNORECASE
)


class Draft:
    """The tokens of an answer, without its prompt.

    Everything before token `start` (character `begin`) is settled and never rolled back. After it comes the current
    sentence, and whatever was generated since.

    For a model that thinks, `ear` tells the thinking from the answer. Thinking and its marks are `aside`, and the
    answer begins at the token `first` (character `opening`), after the last settled thinking.
    """

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
        """Whether the next token belongs to thinking."""
        return self.ear is not None and self.ear.thinking

    @property
    def limit(self) -> int | None:
        """The character at which thinking (or its mark) begins after the current sentence; None where it does not."""
        if True not in self.aside[self.start :]:
            return None
        return sum(map(len, self.pieces[: self.aside.index(True, self.start)]))

    def skip(self) -> str:
        """Settle the thinking that stands where the current sentence would begin. Returns its text."""
        begin, length = self.begin, self.start
        while length < len(self.ids) and self.aside[length]:
            length += 1
        if length > self.start:
            self.start = self.first = length
            self.begin = self.opening = sum(map(len, self.pieces[:length]))
        return self.text[begin : self.begin]

    @property
    def sentence(self) -> str:
        """The text that is not settled yet."""
        return self.text[self.begin :]

    @property
    def in_sentence(self) -> bool:
        """Whether the next token belongs to the sentence that begins at `start`, which is not closed yet."""
        return not self.sentence.strip() or (not closed(self.sentence) and not sentence_ends(self.text, self.begin))

    @property
    def answer(self) -> str:
        """The text after the last thinking and its mark; the whole text where there is none."""
        return self.text[self.opening :]

    @property
    def may_end(self) -> bool:
        """Whether the text may end here."""
        return bool(self.answer.strip()) and closed(self.answer)

    @property
    def ends_in_word(self) -> bool:
        """Whether the last token of the answer is a whole word, which a sentence does not say twice in a row."""
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
        """How many of the first `length` tokens remain without trailing ones that have no text (end-of-sequence)."""
        return next((at for at in range(length, 0, -1) if self.pieces[at - 1]), 0)

    def first_token_from(self, character: int) -> tuple[int, int]:
        """The first token whose word begins at or after this character, and the character at which the token itself
        begins (it may include the blank before the word)."""
        at = 0
        for number, piece in enumerate(self.pieces):
            if piece and at + len(piece) - len(piece.lstrip()) >= character:
                return number, at
            at += len(piece)
        return len(self.pieces), at

    def mentions(self, final: bool) -> list[Mention]:
        """The object words from the character `begin` on."""
        limit = self.limit
        return mentions(self.text[:limit], self.vocabulary, self.begin, final=final or limit is not None)

    def was_introduced(self, mention: Mention) -> bool:
        """Whether the mention introduces its object."""
        return bool(_INDEFINITE.search(self.text[self.begin : mention.start]))

    def sentence_end(self, final: bool) -> int | None:
        """The character after the current sentence; None if it has not ended."""
        limit = self.limit
        return next(iter(sentence_ends(self.text[:limit], self.begin, final=final or limit is not None)), None)

    def clause(self, mention: Mention) -> int:
        """The token at which the clause with this mention begins."""
        return self.first_token_from(clause_start(self.text, self.begin, mention.start))[0]

    def settle(self, end: int) -> None:
        """Settle the text before the character `end`."""
        if end >= len(self.text):  # trailing blanks belong to the settled text, not to a sentence to come
            self._settled(len(self.pieces), len(self.text))
            return
        start, begin = self.first_token_from(end)
        if start <= self.start:  # the sentence ends within the token of blanks with which it begins
            start = self.token_at(end - 1) + 1
            begin = sum(map(len, self.pieces[:start]))
        self._settled(start, begin)

    def _settled(self, start: int, begin: int) -> None:
        """Settle up to the token `start`, but not into thinking that begins before it."""
        if True in self.aside[self.start : start]:
            start = self.aside.index(True, self.start)
            begin = sum(map(len, self.pieces[:start]))
        self.start, self.begin = start, begin
