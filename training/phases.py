"""The three kinds of phase: the tower is trained to see, the projector to map to word embeddings, then all jointly."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlavaForConditionalGeneration

from lvlm_saliency.scenes.classes import CLASSES, COLOURS
from lvlm_saliency.scenes.grammar import NUMBERS, PLACES
from lvlm_saliency.scenes.world import Scene
from training.build import MEAN, STD
from training.data import CELLS
from training.muon import Muon
from training.packing import IGNORE, Packed, encode, pack
from training.precision import training_dtype

# What a patch may show: classes, colours, places of the object it belongs to, number of its class; each with "nothing".
OPTIONS = (len(CLASSES) + 1, len(COLOURS) + 1, len(PLACES) + 1, len(NUMBERS) + 1)
SHOWN = (  # the words for what a patch shows: the object's class, colour, number, and its place
    list(CLASSES),
    list(COLOURS),
    list(NUMBERS.values()),
    ["top", "middle", "bottom"],
    ["left", "middle", "right"],
)
SHARPNESS = 16.0  # of a patch's choice among words: its logits are this times their products with the patch
WORD_NORM = 1.0  # norm of a word embedding at the start, and the norm that projected patches are held to


class Learner(nn.Module):
    """The model with the dense head that trains its tower. The head is not shipped."""

    def __init__(self, model: LlavaForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        width = model.config.vision_config.hidden_size
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(OPTIONS)))
        words = model.get_input_embeddings().weight
        nn.init.normal_(words, std=WORD_NORM / math.sqrt(words.shape[1]))

    def patches(self, pictures: np.ndarray) -> Tensor:
        """The tower's last hidden state per patch, [B, 64, width]; pictures are uint8 [B, 64, 64, 3]."""
        return patches_of(self.model, pictures)

    def dense_loss(self, patches: Tensor, labels: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of class, colour, the object's place and its number per patch; labels are uint8 [B, 4, 64].

        The place is that of the whole object: a patch's own position is not, for objects reach over several patches.
        """
        truth = torch.from_numpy(labels).long()
        each = [
            functional.cross_entropy(logits.transpose(1, 2), truth[:, which])
            for which, logits in enumerate(self.head(patches).float().split(OPTIONS, dim=-1))
        ]
        named = zip(("class", "colour", "place", "number"), each, strict=True)
        return torch.stack(each).sum(), {f"dense_{name}": loss.item() for name, loss in named}

    def project(self, patches: Tensor) -> Tensor:
        """Image tokens [B, 64, 160]."""
        return self.model.model.multi_modal_projector(patches)


def patches_of(model: LlavaForConditionalGeneration, pictures: np.ndarray) -> Tensor:
    """The last hidden state of the model's tower per patch, [B, 64, width]; pictures are uint8 [B, 64, 64, 3]."""
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).float().permute(0, 3, 1, 2) / 255
    pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    hidden = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
    return hidden[model.config.vision_feature_layer][:, 1:]


def norm_penalty(tokens: Tensor) -> Tensor:
    """Holds projected patches to the norm of word embeddings, which they would otherwise exceed thirtyfold."""
    return ((tokens.norm(dim=-1) / WORD_NORM - 1) ** 2).mean()


def shown(labels: np.ndarray) -> list[tuple[Tensor, Tensor]]:
    """For each list of `SHOWN`, which of its words a patch is to be near (int64 [B, 64]), and which patches (bool).

    A patch that shows no object is trained towards the words of its own place. labels: dense labels uint8 [B, 4, 64] of
    `training.data.painted`.
    """
    truth = torch.from_numpy(labels).long()
    third = torch.arange(CELLS) * 3 // CELLS
    thing = truth[:, 0] > 0
    row = torch.where(thing, (truth[:, 2] - 1) // 3, third.repeat_interleave(CELLS))
    column = torch.where(thing, (truth[:, 2] - 1) % 3, third.repeat(CELLS))
    everywhere = torch.ones_like(thing)
    return [
        (truth[:, 0] - 1, thing),
        (truth[:, 1] - 1, thing),
        (truth[:, 3] - 1, thing),
        (row, everywhere),
        (column, everywhere),
    ]


def projector_loss(learner: Learner, patches: Tensor, labels: np.ndarray) -> Tensor:
    """Trains projected patches to be near the embeddings of the words for what they show."""
    words = learner.model.get_input_embeddings().weight
    tokens = learner.project(patches).float()
    loss = norm_penalty(tokens)
    for names, (target, where) in zip(SHOWN, shown(labels), strict=True):
        options = words[[encode(name)[0] for name in names]]
        logits = SHARPNESS * tokens @ options.float().T
        loss = loss + functional.cross_entropy(logits[where], target[where])
    return loss


def answers_loss(
    model: LlavaForConditionalGeneration, tokens: Tensor, batch: Packed
) -> tuple[Tensor, dict[str, float]]:
    """Weighted cross-entropy of the answers in a packed batch, and its means over captions and questions.

    tokens: what stands in the place of the picture's marks, [B, 64, width].
    """
    embedded = model.get_input_embeddings()(batch.ids)
    start = int((batch.ids[0] == model.config.image_token_id).nonzero()[0])
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
    with torch.autocast("cpu", enabled=False):
        logits = model.lm_head(hidden[answered].to(model.lm_head.weight.dtype)).float()
    each = functional.cross_entropy(logits, batch.targets[answered], reduction="none")
    weights = batch.weights[answered]
    of_caption = batch.branch[answered] <= batch.captions
    return (each * weights).sum() / weights.sum(), {
        "caption": each[of_caption].mean().item(),
        "question": each[~of_caption].mean().item(),
    }


def joint_loss(
    learner: Learner, pictures: np.ndarray, labels: np.ndarray, batch: Packed
) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy of the answers in a packed batch, plus the dense loss and the norm penalty."""
    patches = learner.patches(pictures)
    tokens = learner.project(patches).float()
    words, figures = answers_loss(learner.model, tokens, batch)
    dense, norm = learner.dense_loss(patches, labels)[0], norm_penalty(tokens)
    return words + 0.2 * dense + 0.1 * norm, {
        **figures,
        "dense": dense.item(),
        "image_norm": tokens.norm(dim=-1).mean().item(),
    }


@dataclass
class Phase:
    """One phase of the recipe: which loss, how long, how fast."""

    name: str
    kind: str  # "see", "project" or "joint"
    steps: int
    batch: int
    muon_lr: float
    adam_lr: float
    trained: tuple[str, ...]
    settings: dict[str, int | float] = field(default_factory=dict)
    warmup: int = 50
    final: float = 0.03
    projector_factor: float = 0.2  # of the projector's learning rate in the joint phases
    noisy_share: float | None = None  # share of a batch whose captions name what is not there; None: as it comes
    evaluated: int = 500  # steps between looks at the dev split
    horizon: int = 0  # where the cosine ends, when not with the phase

    def factor(self, step: int) -> float:
        """Learning-rate factor: linear warm-up, then cosine to `final`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        part = (step - self.warmup) / max(1, (self.horizon or self.steps) - self.warmup)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * part))

    def loss(
        self,
        learner: Learner,
        pictures: np.ndarray,
        labels: np.ndarray,
        scenes: Iterable[Scene],
        rng: np.random.Generator,
    ) -> tuple[Tensor, dict[str, float]]:
        """The phase's loss on one batch, and figures for the log."""
        if self.kind == "see":
            return learner.dense_loss(learner.patches(pictures), labels)
        if self.kind == "project":
            with torch.no_grad():
                patches = learner.patches(pictures)
            loss = projector_loss(learner, patches, labels)
            return loss, {"projector": loss.item()}
        return joint_loss(learner, pictures, labels, pack(list(scenes), rng, **self.settings))

    def optimisers(self, learner: Learner) -> list[torch.optim.Optimizer]:
        """Muon for the hidden matrices, AdamW for embeddings, norms, biases and heads of the trained parts."""
        matrices, others, projector = [], [], []
        for name, parameter in learner.named_parameters():
            parameter.requires_grad_(any(part in name for part in self.trained))
            if not parameter.requires_grad:
                continue
            if parameter.ndim == 2 and ".layers." in name:
                matrices.append(parameter)
            elif self.kind == "joint" and "projector" in name:
                projector.append(parameter)
            else:
                others.append(parameter)
        groups = [{"params": others}] if others else []
        if projector:
            groups.append({"params": projector, "lr": self.adam_lr * self.projector_factor})
        found: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, lr=self.adam_lr, betas=(0.9, 0.98), weight_decay=0.0)
        ]
        if matrices:
            found.append(Muon(matrices, lr=self.muon_lr, weight_decay=0.02, dtype=training_dtype()))
        return found
