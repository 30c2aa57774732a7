"""The outcome of a guarded generation: its texts, what was done to them, and the notice to observers and streamers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.parts import Generation
from lvlm_saliency.guard.events import Events
from lvlm_saliency.guard.row import Row
from lvlm_saliency.guard.writer import Writer
from lvlm_saliency.model.output import Cost, GenerateOutput, TokenRecord


@dataclass(frozen=True)
class Outcome:
    """The outcome of a generation.

    Attributes:
        ids: the prompts, int64 `[B, n0]`.
        rows: one for each sample.
        writers: what generated them.
        filler: the token that pads a text after its end.
        searched: tokens that were fed to search for the drafts.
    """

    generation: Generation
    ids: Tensor
    rows: Sequence[Row]
    writers: Sequence[Writer]
    filler: int
    searched: int = 0

    def tell(self) -> None:
        """Pass the final tokens to observers and streamers."""
        scores = [scores for writer in self.writers for scores in writer.scores]
        for sample, (row, kept) in enumerate(zip(self.rows, scores, strict=True)):
            for observer in self.generation.parts.observers:
                for at, (record, logits) in enumerate(zip(_records(row), kept, strict=False)):
                    observer.hear(sample, at, record, logits)

    def answers(self) -> Tensor:
        """The answers' token ids, int64 `[B, T]`, padded after the end of each, on the CPU."""
        width = max(len(row.draft) for row in self.rows)
        answers = torch.full((len(self.rows), width), self.filler, dtype=self.ids.dtype)
        for answer, row in zip(answers, self.rows, strict=True):
            answer[: len(row.draft)] = torch.tensor(row.draft.ids, dtype=self.ids.dtype)
        return answers

    def output(self, seconds: float) -> GenerateOutput:
        """The texts and what was done to them. seconds: wall-clock time of the generation."""
        config: Any = self.generation.config
        steps = [_records(row) for row in self.rows]
        cost = Cost(
            forwards=self.generation.open_session.forwards,
            drafted=self.searched + sum(writer.drafted for writer in self.writers),
            kept=sum(map(len, steps)),
            seconds=seconds,
            rollbacks=sum(sum(row.returns.values()) for row in self.rows),
        )
        pad = hf.pad_token(config)
        out = GenerateOutput(
            torch.cat([self.ids, self.answers().to(self.ids.device)], dim=-1),
            steps,
            cost,
            eos_token_id=hf.end_tokens(config),
            pad_token_id=None if pad is None else int(pad),
            guard=[Events(row.events, row.judged) for row in self.rows],
        )
        if config.output_scores:
            out.scores = _by_step([scores for writer in self.writers for scores in writer.scores])
        if config.output_logits:
            out.logits = _by_step([logits for writer in self.writers for logits in writer.logits])
        return out


def _records(row: Row) -> list[TokenRecord]:
    return [TokenRecord(token, rollbacks=row.returns.get(at, 0)) for at, token in enumerate(row.draft.ids)]


def _by_step(samples: list[list[Tensor]]) -> tuple[Tensor, ...]:
    """For each step float32 `[B, V]`; a text that has ended repeats its last row."""
    longest = max(map(len, samples))
    return tuple(torch.stack([steps[min(at, len(steps) - 1)] for steps in samples]) for at in range(longest))
