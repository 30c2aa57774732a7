"""The words of the language model that a projected patch is to be near."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from training.decoder.build import word_vectors
from training.phases import SHARPNESS, SHOWN, shown


class Words:
    """The loss of projected patches, and the norm that they are held to: the median one of a word embedding."""

    def __init__(self, model: LlavaForConditionalGeneration, processor: LlavaProcessor) -> None:
        table = model.get_input_embeddings().weight.detach().float()
        self.norm = table.norm(dim=-1).median().item()
        # Word embeddings share a large common part, which tells no word from another: it is taken away.
        self._mean = table.mean(dim=0)
        vectors = [word_vectors(model, processor, names) - self._mean for names in SHOWN]
        self._directions = [functional.normalize(each, dim=-1) for each in vectors]

    def penalty(self, tokens: Tensor) -> Tensor:
        """How far the norms of projected patches are from a word's."""
        return ((tokens.norm(dim=-1) / self.norm - 1) ** 2).mean()

    def loss(self, tokens: Tensor, labels: np.ndarray) -> Tensor:
        """Cross-entropy of the words for what the patches show, by cosine; tokens: projected patches [B, 64, width]."""
        directions = functional.normalize(tokens - self._mean, dim=-1)
        loss = self.penalty(tokens)
        for options, (target, where) in zip(self._directions, shown(labels), strict=True):
            logits = SHARPNESS * directions @ options.T
            loss = loss + functional.cross_entropy(logits[where], target[where])
        return loss
