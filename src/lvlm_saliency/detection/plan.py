"""Which columns of a batch are a text's own, and which of its rows and tokens a reading keeps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lvlm_saliency.model.regions import Regions
from lvlm_saliency.model.thinking import answers_of, marks_of, parts_of_ids
from lvlm_saliency.tracing.result import token_texts


class Plan:
    """Of one text: which columns of the batch are its own, and which rows and tokens are kept."""

    def __init__(
        self, sample: int, regions: Regions, sequences: Tensor, length: int, mentions: Any, processor: Any
    ) -> None:
        own = ~regions.padding[sample]
        self.sample, self.length = sample, length
        self.columns = own.nonzero().flatten()  # positions in the batch
        self.count = int(own[length:].sum())
        self.prompt = int(own[:length].sum())
        self.image = regions.image[sample].nonzero().flatten()
        mine = None if mentions is None else [one for one in mentions if one.sample == sample]
        answer = sequences[sample, length : length + self.count].cpu()
        self.answers = _answers(processor, sequences[sample, :length].cpu()[own[:length]].tolist(), answer.tolist())
        firsts = [first for first, _ in self.answers or [(0, 0)]]  # the state behind each answer's prompt
        behind = int(self.image.max()) + 1 if len(self.image) else length
        end = length + max(firsts, default=0) if len(self.image) else length  # what an answer's prompt holds
        self.behind = torch.arange(behind, end)[own[behind:end]]
        rows = range(self.count + 1) if mine is None else (r for m in mine for r in range(m.start, m.end + 1))
        self.rows = torch.tensor(sorted({row for row in (0, *firsts, *rows) if row <= self.count}), dtype=torch.long)
        tokens = range(self.count) if mine is None else [t for m in mine for t in m.tokens if t < self.count]
        self.ids = torch.unique(answer[torch.tensor(sorted(set(tokens)), dtype=torch.long)])
        self.sequence = sequences[sample].cpu()


def _answers(processor: Any, prompt: list[int], answer: list[int]) -> list[tuple[int, int]] | None:
    """Where a text answers, in tokens; None for one answer, of a model that is not known to think."""
    marks = None if processor is None else marks_of(processor)
    if marks is None:
        return None
    tokenizer = getattr(processor, "tokenizer", processor)
    return answers_of(parts_of_ids(marks, tokenizer, prompt, token_texts(tokenizer, answer)))
