"""The model under training: a language side that stays as it is but for adapters, and a projector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from lvlm_saliency.scenes.world import Scene
from training.decoder.build import build
from training.decoder.wording import Pieces
from training.decoder.words import Words
from training.packing import pack
from training.phases import Phase, answers_loss, patches_of
from training.precision import ATTENTION, training_dtype

RANK = 32


class Learner:
    """The model under training. The language side computes in bfloat16 where that is fast, its own weights fixed."""

    def __init__(self, decoder: Path, scenes: Path, seed: int) -> None:
        torch.manual_seed(seed)
        self.model, self.processor = build(decoder, scenes)
        self.words = Words(self.model, self.processor)
        self.wording = Pieces(self.processor)
        self.dtype = training_dtype()
        self.model.requires_grad_(False)
        language = self.model.model.language_model.to(self.dtype)
        self.model.lm_head.to(self.dtype)
        self.model.model.language_model = adapted(language)
        if self.dtype is torch.bfloat16:
            self.model.set_attn_implementation(ATTENTION)
        self.model.model.multi_modal_projector.requires_grad_(True)
        self.trained = Trained(self.model)

    def loss(
        self,
        phase: Phase,
        pictures: np.ndarray,
        labels: np.ndarray,
        scenes: Sequence[Scene],
        rng: np.random.Generator,
    ) -> tuple[Tensor, dict[str, float]]:
        """The phase's loss on one batch, and figures for the log."""
        with torch.no_grad():
            patches = patches_of(self.model, pictures)
        tokens = self.model.model.multi_modal_projector(patches)
        near = self.words.loss(tokens, labels)
        if phase.kind == "project":
            return near, {"near_words": near.item()}
        batch = pack(list(scenes), rng, wording=self.wording, **phase.settings)
        words, figures = answers_loss(self.model, tokens, batch)
        norm = self.words.penalty(tokens)
        return words + 0.1 * norm, figures | {"near_words": near.item(), "rows": float(batch.ids.shape[1])}

    def optimiser(self, phase: Phase) -> torch.optim.Optimizer:
        """AdamW for the projector and, where answers are learned, the adapters."""
        named = {name: p for name, p in self.trained.named_parameters() if phase.kind == "joint" or "projector" in name}
        return torch.optim.AdamW(named.values(), lr=phase.adam_lr, betas=(0.9, 0.98), weight_decay=0.0)


class Trained(nn.Module):
    """The trained parameters in float32, by name: what the optimiser moves and a checkpoint holds.

    The model's own adapters are copies in its dtype: a step would be lost in bfloat16's rounding.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._live = {name.replace(".", "/"): p for name, p in model.named_parameters() if p.requires_grad}
        self.parts = nn.ParameterDict({n: nn.Parameter(p.detach().float().clone()) for n, p in self._live.items()})

    def take_gradients(self) -> None:
        """Move the model's gradients here."""
        for name, live in self._live.items():
            self.parts[name].grad, live.grad = None if live.grad is None else live.grad.float(), None

    def give_values(self) -> None:
        """Copy the values into the model."""
        with torch.no_grad():
            for name, live in self._live.items():
                live.copy_(self.parts[name])


def adapted(language: nn.Module) -> PeftModel:
    """Low-rank adapters on every projection of every layer."""
    projections = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=projections)
    return get_peft_model(language, config, autocast_adapter_dtype=False)
