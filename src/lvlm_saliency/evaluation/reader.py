"""Prompts and answers of items, with the processor alone: what needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lvlm_saliency.benchmarks.base import Benchmark, Item
from lvlm_saliency.evaluation.settings import Settings
from lvlm_saliency.model.templates import prompt_text
from lvlm_saliency.model.thinking import ANSWER, answers_of, marks_of, parts_of
from lvlm_saliency.tracing.pieces import text_pieces, token_texts


class ReadsTexts:
    """What a decoder and a `Reader` share."""

    processor: Any
    settings: Settings
    tokenizer: Any

    def rendered(self, item: Item) -> str:
        """The item's prompt with its picture, if it has one, as the model's chat template has it."""
        return prompt_text(self.processor, self.tokenizer, item.prompt, int(bool(item.image)), "auto")

    def limit(self, benchmark: Benchmark) -> int:
        """The most new tokens of an answer."""
        return benchmark.max_new_tokens or self.settings.max_new_tokens

    def answers(self, item: Item, token_ids: Sequence[int]) -> list[tuple[int, int]] | None:
        """Where a text written to the item answers, in tokens (first, one past the last); None where all of it does."""
        marks = marks_of(self.processor)
        if marks is None:
            return None
        parts = parts_of(marks, self.rendered(item), token_texts(self.tokenizer, list(token_ids)))
        return answers_of(parts) if any(kind != ANSWER for kind, _, _ in parts) else None

    def said(self, item: Item, token_ids: Sequence[int]) -> str:
        """The answer of such a text, without thinking, marks and special tokens."""
        answers = self.answers(item, token_ids)
        if answers is None:
            text: str = self.tokenizer.decode(token_ids, skip_special_tokens=True)
            return text.strip()
        pieces = text_pieces(self.tokenizer, token_ids)
        return "".join(piece for first, end in answers for piece in pieces[first:end]).strip()


@dataclass
class Reader(ReadsTexts):
    """A processor without its model, in a process whose workers hold that."""

    processor: Any
    settings: Settings

    def __post_init__(self) -> None:
        self.tokenizer = getattr(self.processor, "tokenizer", self.processor)
