"""What the projector and the adapters are trained on: near words first, then the answers of a packed batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from lvlm_saliency.scenes.classes import CLASSES, COLOURS
from lvlm_saliency.scenes.grammar import NUMBERS
from training.data import CELLS
from training.decoder.build import word_vectors
from training.packing import IGNORE, Packed

SHARPNESS = 16.0  # logits of the projector's own loss are cosines times this, as in the small model's recipe


class Words:
    """The words that a patch is to be near, and the norm that projected patches are held to: a word embedding's."""

    def __init__(self, model: LlavaForConditionalGeneration, processor: LlavaProcessor) -> None:
        table = model.get_input_embeddings().weight.detach().float()
        self.norm = table.norm(dim=-1).median().item()
        self._mean = table.mean(dim=0)
        named = {
            "class": list(CLASSES),
            "colour": list(COLOURS),
            "number": list(NUMBERS.values()),
            "row": ["top", "middle", "bottom"],
            "column": ["left", "middle", "right"],
        }
        # Word embeddings share a large common part, which tells no word from another: it is taken away.
        self._options = {
            kind: functional.normalize(word_vectors(model, processor, words) - self._mean, dim=-1)
            for kind, words in named.items()
        }

    def penalty(self, tokens: Tensor) -> Tensor:
        """How far the norms of projected patches are from a word's."""
        return ((tokens.norm(dim=-1) / self.norm - 1) ** 2).mean()

    def loss(self, tokens: Tensor, labels: np.ndarray) -> Tensor:
        """Cross-entropy of a patch's class, colour, number and place among the words for them, by cosine.

        Args:
            tokens: projected patches [B, 64, width].
            labels: dense labels uint8 [B, 4, 64] of `training.data.painted`. A patch that shows no object is trained
                towards the words of its own place.
        """
        truth = torch.from_numpy(labels).long()
        shown = truth[:, 0] > 0
        third = torch.arange(CELLS) * 3 // CELLS
        row = torch.where(shown, (truth[:, 2] - 1) // 3, third.repeat_interleave(CELLS))
        column = torch.where(shown, (truth[:, 2] - 1) % 3, third.repeat(CELLS))
        everywhere = torch.ones_like(shown)
        directions = functional.normalize(tokens - self._mean, dim=-1)
        loss = self.penalty(tokens)
        for kind, target, where in (
            ("class", truth[:, 0] - 1, shown),
            ("colour", truth[:, 1] - 1, shown),
            ("number", truth[:, 3] - 1, shown),
            ("row", row, everywhere),
            ("column", column, everywhere),
        ):
            logits = SHARPNESS * directions @ self._options[kind].T
            loss = loss + functional.cross_entropy(logits[where], target[where])
        return loss


def answers_loss(
    model: LlavaForConditionalGeneration, tokens: Tensor, batch: Packed, start: int
) -> tuple[Tensor, dict[str, float]]:
    """Weighted cross-entropy of the answers, the picture's tokens [B, 64, width] standing from `start` on."""
    embedded = model.get_input_embeddings()(batch.ids)
    embedded = torch.cat(
        [embedded[:, :start], tokens.to(embedded.dtype), embedded[:, start + tokens.shape[1] :]], dim=1
    )
    hidden = model.model.language_model(
        inputs_embeds=embedded,
        attention_mask=batch.mask(embedded.dtype),
        position_ids=batch.positions,
        use_cache=False,
    ).last_hidden_state
    answered = batch.targets != IGNORE
    logits = model.lm_head(hidden[answered]).float()
    each = functional.cross_entropy(logits, batch.targets[answered], reduction="none")
    weights = batch.weights[answered]
    of_caption = batch.branch[answered] <= batch.captions
    return (each * weights).sum() / weights.sum(), {
        "caption": each[of_caption].mean().item(),
        "question": each[~of_caption].mean().item(),
    }
