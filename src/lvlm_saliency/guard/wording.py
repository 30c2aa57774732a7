"""A question about pictures as token ids: the part before the pictures, and the part after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.errors import SettingError
from lvlm_saliency.model.inputs import question_inputs
from lvlm_saliency.model.regions import placeholder_ids
from lvlm_saliency.model.templates import question_text
from lvlm_saliency.risk.asked import question, yes_and_no

_SIDE = 224
"""Pixels of the side of a blank picture that is used to get the ids around it; its own ids are not used."""


class Wording:
    """The token ids of questions about a picture, in a model's own chat template.

    Attributes:
        head: the ids before the first image token.
        closing: the ids right after the last image token, the same in every prompt; None where that is not known.
        types: for each kind of token types that the processor returns, those of `head` and those after the last image
            token of some question. (Marks around a picture may count as parts of it.)

    Raises:
        SettingError: the tokenizer has no word for yes or no.
    """

    def __init__(self, model: Any, processor: Any):
        self.model, self.processor = model, processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        words = yes_and_no(self.tokenizer) or first_of_yes_and_no(self.tokenizer)
        if words is None:
            raise SettingError(
                "the guard asks yes-or-no questions, and this tokenizer has no such words: set ask=False"
            )
        self.yes, self.no = words
        self.images = set(placeholder_ids(model))
        self.tails: dict[str, list[int]] = {}
        self.answers: dict[str, list[int]] = {}
        self.types: dict[str, tuple[list[int], list[int]]] = {}
        self.head, first = self._made(question("dog"))
        # What the processor writes between the last image token and the question: the same every time.
        plain = self._plain(question("dog"))
        self.closing: list[int] | None = None
        if plain is not None and first[len(first) - len(plain) :] == plain:
            self.closing = first[: len(first) - len(plain)]

    def tail(self, words: str) -> list[int]:
        """The ids after the last image token of the prompt that asks `words`, up to where the answer begins."""
        if words not in self.tails:
            plain = self._plain(words) if self.closing is not None else None
            if self.closing is None or plain is None:
                self.tails[words] = self._made(words)[1]
            else:
                self.tails[words] = [*self.closing, *plain]
        return self.tails[words]

    def answer(self, words: str) -> list[int]:
        """The ids of an answer at its place: after a blank, unless the prompt ends with one."""
        if words not in self.answers:
            last = self.tokenizer.decode(self.tail(question("dog"))[-1:])
            left, glue = ("\n", "") if last[-1:].isspace() else (":", " ")
            before, whole = (
                self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (left, left + glue + words)
            )
            self.answers[words] = whole[len(before) :] if whole[: len(before)] == before else whole
        return self.answers[words]

    def common(self) -> list[int]:
        """The ids after the last image token that all questions of `risk.asked` have in common."""
        one, other = self.tail(question("dog")), self.tail(question("apple"))
        return one[: next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)]

    def _made(self, words: str) -> tuple[list[int], list[int]]:
        """The ids before the first and after the last image token, from the processor with a blank picture."""
        blank = [Image.new("RGB", (_SIDE, _SIDE), (127, 127, 127))]
        made = question_inputs(self.processor, blank, words)
        ids = made["input_ids"][0].tolist()
        first, behind = split(ids, self.images)
        for name in hf.TYPES:
            if isinstance(types := made.get(name), Tensor):
                row = types[0].tolist()
                self.types[name] = row[:first], row[behind:]
        return ids[:first], ids[behind:]

    def _plain(self, words: str) -> list[int] | None:
        """The ids that the template writes after the last picture, from the tokenizer alone."""
        mark = getattr(self.processor, "image_token", None)
        if not isinstance(mark, str) or not mark:
            return None
        text = question_text(self.processor, self.tokenizer, words, 1)
        _, found, behind = text.rpartition(mark)
        return self.tokenizer(behind, add_special_tokens=False)["input_ids"] if found else None


def split(ids: Sequence[int], images: set[int]) -> tuple[int, int]:
    """The positions of the first image token in a prompt's ids, and of the first token after the last one."""
    places = [at for at, token in enumerate(ids) if token in images]
    return places[0], places[-1] + 1


def first_of_yes_and_no(tokenizer: Any) -> tuple[list[int], list[int]] | None:
    """The first tokens of yes and of no, for a tokenizer that splits these words; None where some begin both."""
    found: dict[str, set[int]] = {"yes": set(), "no": set()}
    for word, ids in found.items():
        for written in (word, word.capitalize(), f" {word}", f" {word.capitalize()}"):
            tokens = tokenizer(written, add_special_tokens=False)["input_ids"]
            words = [token for token in tokens if tokenizer.decode([token]).strip()]
            ids |= set(words[:1])
    apart = all(found.values()) and not found["yes"] & found["no"]
    return (sorted(found["yes"]), sorted(found["no"])) if apart else None
