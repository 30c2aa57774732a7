"""`Answer`: a text that a model wrote, or that the caller gave, with all that is needed to explain it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from lvlm_saliency.chat.query import Query
from lvlm_saliency.model.thinking import ANSWER, THINKING, answers_of, marks_of, parts_of_ids
from lvlm_saliency.short import shown
from lvlm_saliency.tracing.pieces import token_texts
from lvlm_saliency.tracing.words import candidate_texts

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.model.output import GenerateOutput, TokenRecord


@dataclass(frozen=True)
class Batch:
    """Queries that went through the model together.

    Attributes:
        inputs: what the processor made of them, left-padded.
        sequences: int64 `[batch, n0 + T]`, prompts included.
        output: what `generate` returned; None for texts that the caller gave.
    """

    queries: Sequence[Query]
    inputs: Any
    sequences: Tensor
    methods: Sequence[Any] = ()
    output: GenerateOutput | None = None


@dataclass(frozen=True)
class Answer:
    """One text.

    Attributes:
        token_ids: the generated tokens, with the end-of-text token where there was one.
        methods: those that were used while it was written.
        finish: "stop", or "length" where the limit on new tokens ended the text; None for a text that the caller gave.
        batch: the batch that it was written in.
        sample: its row in that batch.
    """

    query: Query
    name: str
    token_ids: list[int]
    methods: Sequence[Any]
    finish: Literal["stop", "length"] | None
    batch: Batch = field(repr=False, compare=False)
    sample: int = 0
    tokenizer: Any = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        return shown(self, name=self.name, text=repr(self.text[:60]), tokens=len(self.token_ids), finish=self.finish)

    @cached_property
    def text(self) -> str:
        """The text without special tokens, stripped of white space at both ends."""
        return self.tokenizer.decode(self.token_ids, skip_special_tokens=True).strip()

    @cached_property
    def tokens(self) -> list[str]:
        """The text of each token. Joined they are the whole text, special tokens included."""
        return token_texts(self.tokenizer, self.token_ids)

    @cached_property
    def pieces(self) -> list[str]:
        """As `tokens`, with special tokens empty."""
        special = set(self.tokenizer.all_special_ids)
        return ["" if token in special else text for token, text in zip(self.token_ids, self.tokens, strict=True)]

    def parts(self, processor: Any) -> list[tuple[str, int, int]] | None:
        """Thinking, marks and answer in tokens (`model.thinking.parts_of`); None of a model not known to think."""
        marks = marks_of(processor)
        if marks is None:
            return None
        prompt, mask = self.batch.inputs["input_ids"][self.sample], self.batch.inputs.get("attention_mask")
        own = prompt if mask is None else prompt[mask[self.sample].bool()]
        return parts_of_ids(marks, self.tokenizer, own.tolist(), self.tokens)

    def answered(self, processor: Any) -> list[str]:
        """`pieces` of the answer alone: those of the thinking and of the marks around it are empty."""
        parts = self.parts(processor)
        if parts is None:
            return self.pieces
        inside = {at for first, end in answers_of(parts) for at in range(first, end)}
        return [piece if at in inside else "" for at, piece in enumerate(self.pieces)]

    def said(self, processor: Any) -> tuple[str, str]:
        """The answer, and the thinking before it (empty where there is none), without marks and special tokens.

        The answer is empty where the text ended inside its thinking.
        """
        parts = self.parts(processor) or []
        if not any(kind != ANSWER for kind, _, _ in parts):
            return self.text, ""
        pieces = self.pieces
        found = {
            kind: "".join("".join(pieces[first:end]) for one, first, end in parts if one == kind).strip()
            for kind in (ANSWER, THINKING)
        }
        return found[ANSWER], found[THINKING]

    @property
    def cut(self) -> bool:
        """Whether the limit on new tokens ended the text."""
        return self.finish == "length"

    @property
    def output(self) -> GenerateOutput | None:
        """What `generate` returned for the whole batch."""
        return self.batch.output

    @property
    def steps(self) -> list[TokenRecord] | None:
        """How each token was chosen; None for a text that the caller gave."""
        return None if self.output is None else self.output.steps[self.sample]

    @property
    def guard(self) -> list[Any]:
        """What a guard did to the text (`guard.events.Event`), empty without one."""
        events = None if self.output is None else self.output.guard
        return [] if events is None else list(events[self.sample])

    @cached_property
    def candidates(self) -> dict[int, str]:
        """The texts of the candidate tokens that a method considered, by id."""
        return candidate_texts(self.tokenizer, self.steps or ())

    def to_dict(self) -> dict[str, Any]:
        """The answer with its steps and cost, as plain dictionaries, lists and numbers."""
        data: dict[str, Any] = {
            "name": self.name,
            "methods": [{"name": method.name, **dataclasses.asdict(method)} for method in self.methods],
            "text": self.text,
            "tokens": self.tokens,
            "finish": self.finish,
        }
        if self.output is not None:
            data["steps"] = [dataclasses.asdict(step) for step in self.steps or ()]
            data["cost"] = dataclasses.asdict(self.output.cost)
            if self.output.guard is not None:
                data["guard"] = [event.to_dict() for event in self.guard]
        return data
