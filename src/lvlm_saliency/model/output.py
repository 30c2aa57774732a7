"""What a generation reports: its tokens, what happened at each step, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lvlm_saliency.short import shown, some


@dataclass
class TokenRecord:
    """How one token was chosen.

    Attributes:
        token: its id.
        score: S of the token; None where none was computed.
        threshold: the S that a candidate had to reach; None where every candidate was accepted.
        draws: number of candidates drawn.
        candidates: S of every candidate, by token id.
        rejected: the ids that were drawn and refused, in order.
        fallback: whether every draw was refused and the candidate of the largest S taken.
        rollbacks: how often a search rolled back to this position (`rejected` then holds what it refused there).
    """

    token_id: int
    score: float | None = None
    threshold: float | None = None
    draws: int = 1
    candidates: dict[int, float | None] = field(default_factory=dict)
    rejected: list[int] = field(default_factory=list)
    fallback: bool = False
    rollbacks: int = 0


@dataclass
class Cost:
    """Forward and backward passes of the model, tokens drafted and kept (over all samples), wall-clock seconds, and the
    number of rollbacks of a search (over all samples, abandoned paths included)."""

    forwards: int = 0
    backwards: int = 0
    drafted: int = 0
    kept: int = 0
    seconds: float = 0.0
    rollbacks: int = 0


@dataclass
class GenerateOutput:
    """What `lvlm_saliency.generate` returns.

    Attributes:
        sequences: int64 `[batch, n0 + T]`, prompt included, right-padded after a sample's end.
        steps: one list per sample: how each token was chosen.
        cost: passes and seconds.
        scores: per step float32 `[batch, V]`, with `output_scores`. A search has beams in place of samples here.
        logits: the same before processors, with `output_logits`.
        hidden_states: per step, with `output_hidden_states`.
        past_key_values: the cache, also as `cache`; None after a search.
        sequences_scores: of a search, float32 `[batch]`.
        eos_token_id: the ids that end a text in this call.
        pad_token_id: the id that pads shorter texts.
        guard: per sample the events of the guard, where one was given.
    """

    sequences: Tensor
    steps: list[list[TokenRecord]]
    cost: Cost
    scores: tuple[Tensor, ...] | None = None
    logits: tuple[Tensor, ...] | None = None
    hidden_states: tuple[Any, ...] | None = None
    past_key_values: object | None = None
    sequences_scores: Tensor | None = None
    eos_token_id: tuple[int, ...] = ()
    pad_token_id: int | None = None
    guard: list[Any] | None = None

    def __repr__(self) -> str:
        kept = ("scores", "logits", "hidden_states", "past_key_values", "sequences_scores")
        return shown(
            self,
            sequences=list(self.sequences.shape),
            tokens=some(len(steps) for steps in self.steps),
            rejected=some(sum(len(step.rejected) for step in steps) for steps in self.steps),
            cost=self.cost,
            also=" ".join(name for name in kept if getattr(self, name, None) is not None) or None,
        )

    @property
    def cache(self) -> object | None:
        """The cache under the name that transformers gives it from 5.24 on."""
        return self.past_key_values
