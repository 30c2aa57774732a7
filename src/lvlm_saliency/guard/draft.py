"""One text in progress: its tokens as text, and where in it words and sentences stand."""

from __future__ import annotations

import re
from typing import Any

from lvlm_saliency.guard.sentences import clause_start, closed, sentence_ends
from lvlm_saliency.guard.vocabulary import Vocabulary
from lvlm_saliency.guard.words import Mention, mentions
from lvlm_saliency.tracing.result import token_text

CONTEXT = 16
"""Tokens before one that its text may depend on."""
_INDEFINITE = re.compile(
    r"\b(?:a|an|another|one|two|three|four|five|six|several|some|many|few)(?:\s+[^\W\d_]+){0,2}\s*$", re.IGNORECASE
)


class Draft:
    """The tokens of an answer, without its prompt. What stands before token `start` (character `begin`) is settled: it
    is never taken back. What stands behind is the sentence in question, and what was written since."""

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary):
        self.tokenizer, self.vocabulary = tokenizer, vocabulary
        self.special = set(tokenizer.all_special_ids)
        self.ids: list[int] = []
        self.pieces: list[str] = []
        self.text = ""
        self.start = self.begin = 0

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, token: int) -> None:
        self.ids.append(token)
        piece = "" if token in self.special else token_text(self.tokenizer, self.ids[-CONTEXT:])
        self.pieces.append(piece)
        self.text += piece

    def cut(self, length: int) -> None:
        """Take back all but the first `length` tokens."""
        self.text = self.text[: sum(map(len, self.pieces[:length]))]
        del self.ids[length:], self.pieces[length:]

    @property
    def sentence(self) -> str:
        """What is not settled yet."""
        return self.text[self.begin :]

    @property
    def in_sentence(self) -> bool:
        """Whether the next token belongs to the sentence that begins at `start`: it has not been closed."""
        return not self.sentence.strip() or (not closed(self.sentence) and not sentence_ends(self.text, self.begin))

    @property
    def may_end(self) -> bool:
        """Whether a text may stop here."""
        return bool(self.text.strip()) and closed(self.text)

    @property
    def ends_in_word(self) -> bool:
        """Whether the last token is a whole word by itself, which no sentence says twice in a row."""
        return bool(self.pieces) and re.fullmatch(r"\s[^\W\d_]+", self.pieces[-1]) is not None

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
        return mentions(self.text, self.vocabulary, self.begin, final=final)

    def was_introduced(self, mention: Mention) -> bool:
        """Whether the mention introduces its object."""
        return bool(_INDEFINITE.search(self.text[self.begin : mention.start]))

    def sentence_end(self, final: bool) -> int | None:
        """The character behind the sentence in question; None where it has not ended."""
        return next(iter(sentence_ends(self.text, self.begin, final=final)), None)

    def clause(self, mention: Mention) -> int:
        """The token at which the clause with this mention begins."""
        return self.first_token_from(clause_start(self.text, self.begin, mention.start))[0]

    def settle(self, end: int) -> None:
        """What stands before the character `end` is settled."""
        if end >= len(self.text):  # blanks at the very end belong to what stands, not to a sentence to come
            self.start, self.begin = len(self.pieces), len(self.text)
            return
        start, begin = self.first_token_from(end)
        if start <= self.start:  # the sentence is a token of blanks, in which it also ends
            start = self.token_at(end - 1) + 1
            begin = sum(map(len, self.pieces[:start]))
        self.start, self.begin = start, begin
