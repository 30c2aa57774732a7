"""`Answer`: a text that a model wrote, or that was brought, with all that is needed to explain it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from lvlm_saliency.chat.query import Query
from lvlm_saliency.short import shown
from lvlm_saliency.tracing.result import token_texts
from lvlm_saliency.tracing.words import candidate_texts

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.model.output import GenerateOutput, TokenRecord


@dataclass(frozen=True)
class Batch:
    """Queries that went through the model together.

    inputs: what the processor made of them, left-padded; sequences: int64 `[batch, n0 + T]`, prompts included;
    output: what `generate` returned, None for texts that were brought.
    """

    queries: Sequence[Query]
    inputs: Any
    sequences: Tensor
    methods: Sequence[Any] = ()
    output: GenerateOutput | None = None


@dataclass(frozen=True)
class Answer:
    """One text.

    token_ids: the generated tokens, an end-of-text token included where there was one. methods: those that it was
    written under. finish: "stop", or "length" where the limit on new tokens ended the text; None for a text that was
    brought. batch, sample: where it came from.
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
        """What was written, without special tokens and the blanks around it."""
        return self.tokenizer.decode(self.token_ids, skip_special_tokens=True).strip()

    @cached_property
    def tokens(self) -> list[str]:
        """The text of each token; joined they are the whole text, special tokens included."""
        return token_texts(self.tokenizer, self.token_ids)

    @cached_property
    def pieces(self) -> list[str]:
        """As `tokens`, with special tokens empty."""
        special = set(self.tokenizer.all_special_ids)
        return ["" if token in special else text for token, text in zip(self.token_ids, self.tokens, strict=True)]

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
        """How each token came to be chosen; None for a text that was brought."""
        return None if self.output is None else self.output.steps[self.sample]

    @property
    def guard(self) -> list[Any]:
        """What a guard did to the text (`guard.events.Event`), empty without one."""
        events = None if self.output is None else self.output.guard
        return [] if events is None else list(events[self.sample])

    @cached_property
    def candidates(self) -> dict[int, str]:
        """The texts of the tokens that a method looked at, by id."""
        return candidate_texts(self.tokenizer, self.steps or ())

    def to_dict(self) -> dict[str, Any]:
        """The answer with its steps and cost, as plain data."""
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
