"""The inputs of layout functions: the picture, the processor's settings, the model's configuration, the tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lvlm_saliency.errors import InputError, ModelError
from lvlm_saliency.model.layout.tiles import Box, ImageTile, Kind


@dataclass(frozen=True)
class Facts:
    """What is known of one picture of a batch.

    Attributes:
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        number: its number in the whole batch, counted over samples.
        pictures: number of pictures of its sample.
        processor: the processor.
        config: the model's configuration, where a model was given.
        inputs: what the processor returned.
        ids: int64 `[n0]`, the sample's token ids.
    """

    width: int
    height: int
    number: int
    pictures: int
    processor: Any
    config: Any
    inputs: Mapping[str, Any]
    ids: np.ndarray

    def setting(self, name: str, default: Any = None) -> Any:
        """A setting by name, in the order of precedence that holds in a call of the processor.

        The processor class's own defaults come before its image processor's, whatever the checkpoint wrote there (so
        InternVL cuts tiles though its files say not to); then the processor, then the model's configuration.
        """
        defaults = getattr(self.processor, "images_kwargs", None) or {}
        if defaults.get(name) is not None:
            return defaults[name]
        for source in (self.processor.image_processor, self.processor, self.config):
            value = getattr(source, name, None)
            if value is not None:
                return value
        return default

    def patch_size(self) -> int:
        """Pixels of a vision patch's side.

        Raises:
            ModelError: neither the processor nor a model says it.
        """
        vision = getattr(self.config, "vision_config", None)
        patch = self.setting("patch_size") or getattr(vision, "patch_size", None)
        if patch is None:
            raise ModelError("the processor does not say its patch_size: pass model= as well")
        return int(patch[0] if isinstance(patch, (list, tuple)) else patch)

    def tokens_until(self, position: int, end: str) -> list[str]:
        """The sample's tokens from a position on, up to the first `end` or the last.

        What a processor wrote between tiles says how it cut the picture, whatever settings its call was given.
        """
        tokens = self.processor.tokenizer.convert_ids_to_tokens(self.ids[position:].tolist())
        return tokens[: tokens.index(end)] if end in tokens else tokens

    def seen(self, size: Any, name: str) -> float:
        """The share of an encoder's side, `size[name]` pixels, that whole patches cover: 378 of 384 with patches of 14.

        What is left over at the right and at the bottom is seen by no token. 1 where nothing says the patch size.
        """
        vision = getattr(self.config, "vision_config", None)
        if self.setting("patch_size") is None and getattr(vision, "patch_size", None) is None:
            return 1.0
        pixels = known_edge(size, name)
        return pixels // self.patch_size() * self.patch_size() / pixels

    def row(self, name: str) -> list[int]:
        """This picture's row of a per-picture tensor among the inputs (`image_grid_thw`)."""
        if self.inputs.get(name) is None:
            raise InputError(f"the inputs hold no {name}: pass everything that the processor returned")
        return [int(value) for value in self.inputs[name][self.number]]


@dataclass
class Cursor:
    """Hands out a sample's image positions in order, and collects the grids made of them."""

    positions: np.ndarray
    used: int = 0
    tiles: list[ImageTile] = field(default_factory=list)
    extra: list[np.ndarray] = field(default_factory=list)

    def take(self, count: int) -> np.ndarray:
        """The next `count` positions.

        Raises:
            InputError: there are not as many left.
        """
        if self.used + count > len(self.positions):
            raise InputError(
                f"the prompt holds {len(self.positions)} image tokens, fewer than these pictures take: "
                "pass the pictures, the inputs and the processor settings that belong together"
            )
        self.used += count
        return self.positions[self.used - count : self.used]

    def skip(self, count: int) -> None:
        """Skip positions that stand for no part of the picture (newline and class tokens)."""
        self.extra.append(self.take(count))

    def rows(self, rows: int, cols: int, newline: bool = False) -> np.ndarray:
        """The next `rows * cols` positions as a grid, or one more per row where a newline token ends each."""
        if not newline:
            return self.take(rows * cols).reshape(rows, cols)
        grid = self.take(rows * (cols + 1)).reshape(rows, cols + 1)
        self.extra.append(grid[:, -1])
        return grid[:, :-1]

    def grid(self, rows: int, cols: int, box: Box, kind: Kind, newline: bool = False) -> None:
        """The next positions are a grid over `box`; with `newline` a token without a place ends each row."""
        self.tiles.append(ImageTile(self.rows(rows, cols, newline), box, kind))


def edge(size: Any, name: str) -> int | None:
    """`size["height"]` and the like, from the dict or the object that image processors keep."""
    value = size.get(name) if isinstance(size, Mapping) else getattr(size, name, None)
    return None if value is None else int(value)


def known_edge(size: Any, name: str) -> int:
    """As `edge`, where the layout cannot be computed without it.

    Raises:
        ModelError: the image processor does not say it.
    """
    found = edge(size, name)
    if found is None:
        raise ModelError(f"the image processor does not say its {name}: its image tokens cannot be placed")
    return found
