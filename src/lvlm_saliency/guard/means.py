"""What the texts of a generation are written with: processors, criteria, vocabulary, choice, features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lvlm_saliency import hf
from lvlm_saliency.attention.parts import Generation
from lvlm_saliency.guard.bans import Spellings
from lvlm_saliency.guard.choice import Choice
from lvlm_saliency.guard.features import Reader
from lvlm_saliency.guard.setup import Setup, spellings
from lvlm_saliency.guard.strands import Start
from lvlm_saliency.model.regions import token_regions


@dataclass(frozen=True)
class Means:
    """What is needed to generate the rows of a generation.

    Attributes:
        processor, criteria: logits processors and stopping criteria of `generate`.
        spellings: the vocabulary as token ids.
        choice: how tokens are chosen.
        reader: reads the risk model's features; None without one.
        reads_all: read the features of every token, not only of those that may begin a name (necessary where the model
            is not asked).
        ends: end-of-sequence tokens.
        wants: whether the scores, and the logits, of each step are kept.
    """

    processor: Any
    criteria: Any
    spellings: Spellings
    choice: Choice
    reader: Reader | None
    reads_all: bool
    ends: tuple[int, ...]
    wants: tuple[bool, bool]

    @classmethod
    def of(
        cls,
        generation: Generation,
        setup: Setup,
        tokenizer: Any,
        start: Start,
        seed: int | None,
        rows: Sequence[int] | None,
    ) -> Means:
        """What is needed for these rows of a generation (repeats allowed; None: all of them)."""
        config, reader = generation.config, None
        if setup.judge is not None and setup.judge.model is not None:
            mask = start.kwargs.get("attention_mask")
            mask = None if mask is None else mask[:, : start.ids.shape[1]]
            regions = token_regions(generation.model, {"input_ids": start.ids, "attention_mask": mask})
            reader = Reader(setup.judge.model, regions)
            reader = reader if rows is None else reader.rows(rows)
        return cls(
            generation.processor,
            generation.criteria,
            spellings(tokenizer, setup.vocabulary),
            Choice(bool(config.do_sample), config.temperature or 1.0, seed),
            reader,
            setup.judge is None or setup.judge.mode == "risk",
            hf.end_tokens(config),
            (bool(config.output_scores or generation.parts.observers), bool(config.output_logits)),
        )
