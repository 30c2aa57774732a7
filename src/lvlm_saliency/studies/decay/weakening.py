"""Weakens attention to confident correct words while a text is written; the control weakens other words equally."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.edits import RowEdit
from lvlm_saliency.attention.parts import Observer, Parts, Role, RowEditor, RunInfo
from lvlm_saliency.attention.state import RowContext
from lvlm_saliency.interventions.base import Method
from lvlm_saliency.model.output import TokenRecord
from lvlm_saliency.model.thinking import Ear
from lvlm_saliency.studies.texts import Span
from lvlm_saliency.tracing.pieces import overlapping, token_text

LEAST = 1e-3
"""The least factor of the control: attention is never shut off altogether."""

Label = Callable[[str], Sequence[Span]]
"""The object words of a text so far, labelled."""


@dataclass(frozen=True)
class Strength:
    """What is done, and to what.

    Attributes:
        factor: r, multiplies the attention; 1 leaves everything as it is, bit for bit.
        elsewhere: the control: the same amount is taken from other output tokens.
        confidence: least probability of a word's first token under the model.
        partners: other tokens per weakened one that the control spreads its taking over.
        layers: decoder layers to act on, None for all.
        seed: of the control's choice.
    """

    factor: float
    elsewhere: bool = False
    confidence: float = 0.5
    partners: int = 5
    layers: tuple[int, ...] | None = None
    seed: int = 0


@dataclass
class Written:
    """A sample as it is written.

    Attributes:
        ear: tells the thinking of a model that thinks from its answer, whose words alone count; None without one.
        pieces: the text of each token, blanks in place of what is no answer.
        named: the tokens of each of its object words.
        held: numbers of the output tokens that belong to confident correct words.
        others: the control's, by held token.
    """

    label: Label
    number: int
    ear: Ear | None = None
    ids: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    named: list[list[int]] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    others: dict[int, list[int]] = field(default_factory=dict)
    ended: bool = False

    def append(self, token: int, probability: float, piece: str, confidence: float, spoken: str = "") -> None:
        """Add the next token; a word counts once another token follows it, so that it is known to be complete.

        Args:
            token: its id.
            probability: under the model.
            piece: its text, empty for a special token.
            confidence: least probability of a word that is held.
            spoken: its text, special tokens included, for the ear.
        """
        self.ids.append(token)
        self.probabilities.append(probability)
        self.pieces.append(piece)
        for at in range(1, 1 + (0 if self.ear is None else self.ear.hear(spoken))):
            self.pieces[-at] = " " * len(self.pieces[-at])
        text = "".join(self.pieces)
        spans = list(self.label(text))
        self.named = overlapping(self.pieces, spans)
        self.held = [
            token
            for span, tokens in zip(spans, self.named, strict=True)
            if tokens and span.end < len(text) and not span.hallucinated
            if self.probabilities[tokens[0]] >= confidence
            for token in tokens
        ]

    def draw_others(self, chosen: Strength) -> list[int]:
        """Random output tokens that belong to no object word, `partners` for each held one as far as there are."""
        objects = {token for tokens in self.named for token in tokens}
        for held in self.held:
            mine = self.others.setdefault(held, [])
            taken = objects | {token for tokens in self.others.values() for token in tokens}
            free = [token for token in range(len(self.ids) - 1) if token not in taken]
            random = np.random.default_rng([chosen.seed, self.number, held, len(mine)])
            mine += random.permutation(free)[: chosen.partners - len(mine)].tolist()
        return [token for held in self.held for token in self.others[held] if token not in objects]


class Weakening(Method, RowEditor, Observer):
    """Multiplies the attention from each new token to confident correct words by a factor, rows renormalised.

    It hears which tokens are chosen, from which logits, and edits the rows of those that follow; it serves one call of
    `generate`.

    A factor r on attention before renormalisation is log r on the score before the softmax (as LocoRE's gain is). The
    control takes, in every layer and at every step, as much attention (summed over heads) from random other output
    tokens as the factor would take from the confident correct ones.

    Args:
        tokenizer: of the texts; prompt_length: n0, padding counted.
        labels: of each sample; numbers: names of the samples to the seeded choice of the control.
        ends: ids that end a text.
        ears: of each sample of a model that thinks; None for others.
    """

    name: ClassVar[str] = "weakening"
    roles: ClassVar[Role] = Role.ROWS | Role.HEARS
    edits_prompt: ClassVar[bool] = False

    def __init__(
        self,
        strength: Strength,
        tokenizer: Any,
        labels: Sequence[Label],
        numbers: Sequence[int],
        prompt_length: int,
        ends: set[int],
        ears: Sequence[Ear] | None = None,
    ):
        self.strength, self.tokenizer, self.prompt_length, self.ends = strength, tokenizer, prompt_length, ends
        self.special = set(tokenizer.all_special_ids)
        told: Sequence[Ear | None] = ears or [None] * len(labels)
        self.samples = [Written(label, number, ear) for label, number, ear in zip(labels, numbers, told, strict=True)]
        self.places: Tensor | None = None
        self.others: Tensor | None = None
        self.heard = False
        """Whether a token was heard that `places` and `others` do not know of yet."""
        self.taken = torch.zeros(3, len(self.samples), dtype=torch.float64)
        """Attention taken, what the treatment would take, and the rows (heads, layers and steps) that it would take it
        from, `[3, B]`."""

    def check_model(self, model: Any) -> None:
        hf.target_layers(model, self.strength.layers)

    def bind(self, model: Any, run: RunInfo | None = None) -> Parts:
        return Parts(editors=(self,), observers=(self,))

    # --- what the decode loop tells ---

    def hear(self, sample: int, step: int, record: TokenRecord, logits: Tensor) -> None:
        """Take the token into its text, with its probability under the model."""
        text, token = self.samples[sample], record.token_id
        if text.ended:
            return
        probability = float(torch.log_softmax(logits.float(), dim=-1)[token].exp())
        spoken = token_text(self.tokenizer, [*text.ids[-15:], token])
        text.append(token, probability, "" if token in self.special else spoken, self.strength.confidence, spoken)
        text.ended = token in self.ends
        self.heard = True

    def _look_up(self) -> None:
        """Update the masks to the present texts."""
        self.heard = False
        self.places = self._mask([[] if sample.ended else sample.held for sample in self.samples])
        if self.strength.elsewhere and self.places is not None:
            others = [[] if sample.ended else sample.draw_others(self.strength) for sample in self.samples]
            self.others = self._mask(others)

    def _mask(self, tokens: Sequence[Sequence[int]]) -> Tensor | None:
        """Absolute positions as a mask over prompt and output, bool `[B, n0 + T]`; None when there are none."""
        if not any(tokens):
            return None
        longest = max(len(sample.ids) for sample in self.samples)
        mask = torch.zeros(len(tokens), self.prompt_length + longest, dtype=torch.bool)
        for row, some in enumerate(tokens):
            mask[row, [self.prompt_length + token for token in some]] = True
        return mask

    # --- what attention does ---

    def edit_rows(self, context: RowContext) -> RowEdit | None:
        acts = self.strength.layers is None or context.layer in self.strength.layers
        if self.strength.factor == 1 or context.past < self.prompt_length or not acts:
            return None
        if self.heard:
            self._look_up()
        if self.places is None:
            return None
        held = self._columns(self.places, context)
        weights = context.rows.weights(slice(0, context.new))
        attention = weights.sum(dim=1)[:, -1]  # over heads, [B, K]
        wanted = (1 - self.strength.factor) * (attention * held).sum(dim=-1)
        if not self.strength.elsewhere:
            self._note(wanted, wanted, weights.shape[1])
            return RowEdit(bias=torch.where(held, math.log(self.strength.factor), 0.0)[:, None, None])
        if self.others is None:
            self._note(torch.zeros_like(wanted), wanted, weights.shape[1])
            return None
        others = self._columns(self.others, context)
        there = (attention * others).sum(dim=-1)
        factor = (1 - wanted / there.clamp(min=1e-12)).clamp(LEAST, 1.0)
        self._note((1 - factor) * there, wanted, weights.shape[1])
        return RowEdit(bias=torch.where(others, factor.log()[:, None], 0.0)[:, None, None])

    def _columns(self, mask: Tensor, context: RowContext) -> Tensor:
        """The mask on this call's key columns, bool `[B, K]`."""
        positions = context.key_positions.clamp(max=mask.shape[1] - 1)
        return mask.to(context.device)[:, positions] & (context.key_positions < mask.shape[1])

    def _note(self, taken: Tensor, wanted: Tensor, heads: int) -> None:
        parts = torch.stack([taken, wanted, heads * (wanted > 0)]).double()
        self.taken = self.taken.to(parts.device) + parts
