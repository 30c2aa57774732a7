"""Items in, rows out: what a model says of every word of texts that any system wrote. It opens no file but pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lvlm_saliency.annotation.items import Item, Words
from lvlm_saliency.chat import Chat, Explanation, Query
from lvlm_saliency.chat.notes import number as finite
from lvlm_saliency.chat.notes import token_notes
from lvlm_saliency.detection.mention import Mention, every_word
from lvlm_saliency.errors import LvlmSaliencyError
from lvlm_saliency.guard.vocabulary import Vocabulary
from lvlm_saliency.guard.words import mentions as named_objects
from lvlm_saliency.model.images import open_image
from lvlm_saliency.model.templates import answer_ids
from lvlm_saliency.tracing.pieces import overlapping, tokenised


@dataclass(frozen=True)
class Annotated:
    """What was found of one item: its rows, or why it has none."""

    item: Item
    rows: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0
    error: str = ""


@dataclass(frozen=True)
class _Text:
    """An answer as the model's tokens.

    Attributes:
        pieces: the text of each token.
        words, mentions: the words to be judged, and the same as mentions for detectors.
    """

    ids: list[int]
    pieces: list[str]
    words: list[Words]
    mentions: list[Mention]


class Annotator:
    """Reads batches of items with one model.

    Args:
        chat: the model with its processor.
        detectors: published scores, by name or as detectors.
        risk: a `RiskModel`, or None.
        vocabulary: names of the objects that are judged where an item does not say which words; None: every word.
        per: "mention" or "token": what a row is of.
        skip_errors: whether a text that cannot be read becomes an `Annotated` with its error, and is not raised.
    """

    def __init__(
        self,
        chat: Chat,
        detectors: Sequence[Any] = (),
        risk: Any = None,
        vocabulary: Vocabulary | None = None,
        per: str = "mention",
        skip_errors: bool = False,
    ):
        self.chat, self.detectors, self.risk = chat, list(detectors), risk
        self.vocabulary = vocabulary
        self.per, self.skip_errors = per, skip_errors

    def annotate(self, items: Sequence[Item]) -> list[Annotated]:
        """The rows of some items, in order; they are read together.

        Raises:
            LvlmSaliencyError: an item cannot be read; the message begins with where it stands.
        """
        try:
            return self._together(items)
        except LvlmSaliencyError as error:
            if len(items) > 1:  # so that the culprit alone fails, and is named
                return [one for item in items for one in self.annotate([item])]
            if not self.skip_errors:
                raise type(error)(f"{items[0].where}: {error}" if items[0].where else str(error)) from error
            return [Annotated(items[0], error=str(error))]

    def _together(self, items: Sequence[Item]) -> list[Annotated]:
        read = [item for item in items if item.answer.strip()]  # nothing was written: no rows
        if not read:
            return [Annotated(item) for item in items]
        texts = [self._text(item) for item in read]
        queries = [Query(item.prompt, [open_image(path) for path in item.images]) for item in read]
        answers = self.chat.given_ids(queries, [text.ids for text in texts])
        mentions = {at: self._judged(text) for at, text in enumerate(texts)}
        found = self.chat.explain(answers, risk=self.risk, detectors=self.detectors, mentions=mentions, layouts=False)
        rows = {
            item.index: Annotated(item, self._rows(item, text, explained), len(text.ids))
            for item, text, explained in zip(read, texts, found, strict=True)
        }
        return [rows.get(item.index, Annotated(item)) for item in items]

    def _text(self, item: Item) -> _Text:
        tokenizer = self.chat.tokenizer
        answer_ids(tokenizer, item.answer, self.chat.ends)  # it refuses what the model cannot have written
        ids, pieces = tokenised(tokenizer, item.answer)
        words = self._words(item, pieces)
        covered = overlapping(pieces, words)
        seen: dict[str, int] = {}
        kept, mentions = [], []
        for word, tokens in zip(words, covered, strict=True):
            seen[word.name] = seen.get(word.name, 0) + 1
            if tokens:
                place = (tokens[0], tokens[-1] + 1, word.name, item.answer[word.start : word.end])
                kept.append(word)
                mentions.append(Mention(*place, first=seen[word.name] == 1, occurrence=seen[word.name]))
        return _Text(ids, pieces, kept, mentions)

    def _words(self, item: Item, pieces: Sequence[str]) -> list[Words]:
        if item.words is not None:
            return list(item.words)
        if self.vocabulary is not None:
            objects = named_objects(item.answer, self.vocabulary, final=True)
            return [Words(one.start, one.end, one.name, one.negated) for one in objects]
        ends = [0]
        for piece in pieces:
            ends.append(ends[-1] + len(piece))
        found = []
        for one in every_word(pieces):
            first = item.answer.find(one.word, ends[one.start])
            found.append(Words(first, first + len(one.word), one.name))
        return found

    def _judged(self, text: _Text) -> list[Mention]:
        """The words that detectors judge: those of the rows, or every word where rows are of tokens."""
        return text.mentions if self.per == "mention" else every_word(text.pieces)

    def _rows(self, item: Item, text: _Text, explained: Explanation) -> list[dict[str, Any]]:
        notes = token_notes(explained)
        head = {"item": item.index, "id": item.id, "image": item.names[0] if len(item.names) == 1 else [*item.names]}
        if self.per == "token":
            return [{**head, **row} for row in _of_tokens(text, notes)]
        found = []
        for number, (word, mention) in enumerate(zip(text.words, text.mentions, strict=True)):
            note = _note(notes[mention.start])
            if explained.risk is not None and self._names_object(item):
                note["risk"] = finite(explained.risk.values[mention.start])
            found.append({**head, "mention": number, **_of_mention(word, mention), **note})
        return found

    def _names_object(self, item: Item) -> bool:
        """Whether the words of an item are known to name objects, so that risk means something wherever they stand;
        among all words, only those that begin like an object word of the risk's training texts have one."""
        return item.words is not None or self.vocabulary is not None


def _of_mention(word: Words, mention: Mention) -> dict[str, Any]:
    return {
        "word": mention.word,
        "name": mention.name,
        "start": word.start,
        "end": word.end,
        "first_token": mention.start,
        "end_token": mention.end,
        "first": mention.first,
        "occurrence": mention.occurrence,
        "negated": word.negated,
    }


def _of_tokens(text: _Text, notes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    rows, start = [], 0
    for at, (piece, note) in enumerate(zip(text.pieces, notes, strict=True)):
        rows.append({"token": at, "text": piece, "start": start, "end": start + len(piece), **_note(note)})
        start += len(piece)
    return rows


def _note(note: dict[str, Any]) -> dict[str, Any]:
    """A token's note as columns; `object` is what its risk already says."""
    return {name: value for name, value in note.items() if name != "object"}
