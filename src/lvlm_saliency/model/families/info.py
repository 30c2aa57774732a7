"""What is known of a family."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

GRID = ("image_grid_thw",)
GRID_AND_TYPES = ("image_grid_thw", "mm_token_type_ids")
NO_SHAPES = "; no full shapes: the sizes of a released processor are not known here"


@dataclass(frozen=True)
class FamilyInfo:
    """One row of `lvlm-saliency models`.

    model_type: transformers' name of the family (`config.model_type`).
    name: the name that people use.
    checkpoints: ids of public checkpoints whose full-size configuration and picture sizes the tests reproduce (with the
        weights left out), from what was published of them, or else from what transformers' classes take for them;
        empty where only the small test model stands for the family.
    processors: class names of its processors, by which its grid is found when no model is at hand.
    grid: "module:function" in `lvlm_saliency.model.layout` that places the image tokens; None for a text model.
    film: the same for the tokens of videos; None for a model that takes none, or whose videos are not supported.
    no_grid: why there are no heat maps although the model sees pictures; empty where there are.
    refused: why the family cannot be traced at all; empty where it can.
    needs: what the model must be given beside pictures; without it some quietly read the prompt in another way.
    closing: what closes a picture after its last image token, where the model's configuration does not name it: names
        of the tokenizer's attributes, or the texts themselves, as transformers' processors write them.
    image_mark: the text of the token that stands for each part of a picture, where the processor's image token is
        another: that one stands for the whole picture, before the processor writes its parts.
    own_precision: whether its vision tower takes pictures in its weights' precision alone; most bring them to it.
    beta, window: LocoRE's gain and reach to start from.
    depth: the part of the decoder, as fractions of its layers, that SGRS scores.
    notes: what is particular about it.
    tiny: whether a small model of the family goes through the tests; None for those without an obstacle.
    trained: whether tests run on trained weights too: the shipped model, and those of `make test-real`.
    """

    model_type: str
    name: str
    checkpoints: tuple[str, ...] = ()
    processors: tuple[str, ...] = ()
    grid: str | None = None
    film: str | None = None
    no_grid: str = ""
    refused: str = ""
    needs: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()
    image_mark: str | None = None
    own_precision: bool = False
    beta: float = 0.15
    window: int = 10
    depth: tuple[float, float] = (0.5, 0.75)
    notes: str = ""
    tiny: bool | None = None
    trained: bool = False

    @property
    def proof(self) -> tuple[str, ...]:
        """How it was proven: "small" (a small model of its classes goes through the tests, with a real processor),
        "shapes" (published configurations and picture sizes, weights left out), "weights" (trained weights)."""
        found = (("small", self.tested), ("shapes", bool(self.checkpoints)), ("weights", self.trained))
        return tuple(name for name, known in found if known)

    @property
    def tested(self) -> bool:
        """Whether a small model of the family goes through every test."""
        return not self.refused and not self.no_grid if self.tiny is None else self.tiny

    def target_layers(self, layers: Sequence[int]) -> list[int]:
        """The preset's choice among the decoder's attention `layers` (ascending); never empty unless `layers` is."""
        first = min(math.floor(self.depth[0] * len(layers)), len(layers) - 1)
        last = max(math.ceil(self.depth[1] * len(layers)), first + 1)
        return list(layers[max(first, 0) : last])
