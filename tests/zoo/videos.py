"""Videos for the families of the zoo, and what makes pixels of them where torchvision is not installed.

transformers' own video processors need torchvision. Without it `filming` puts in their place one that sends every frame
through the family's picture processor and packs what comes out as the real one does: the text that goes with it, the
positions and everything behind them are the real processor's and the real model's. `make families` runs the same tests
with the real ones.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BatchFeature
from transformers.utils import is_torchvision_available
from transformers.video_utils import VideoMetadata

from lvlm_saliency.model.processors import PicturesOnly
from lvlm_saliency.model.video import Video

from .family import picture
from .seeing import family_of

FILMED = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "smolvlm", "llava_onevision")
"""Families of the fast tests whose videos are supported."""
MORE_FILMED = (
    "qwen3_vl_moe", "qwen3_5_vl", "qwen3_5_moe_vl", "exaone4_5", "lfm3_vl", "glm4v", "glm46v", "glm4v_moe", "glm_ocr",
    "glm5_next", "gemma4", "gemma4_large", "gemma4_unified",
)  # fmt: skip
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in MORE_FILMED]


def fresh(name: str) -> tuple[Any, Any]:
    model, processor = family_of(name).fresh()
    return model, filming(processor)


def built(name: str) -> tuple[Any, Any]:
    model, processor = family_of(name).build()
    return model, filming(processor)


def video(seed: int = 0, frames: int = 4, size: tuple[int, int] = (70, 44), rate: float = 2.0) -> Video:
    """A video of `frames` mosaics, no two alike, at `rate` frames a second, every third of the source."""
    numbers = [3 * frame for frame in range(frames)]
    pictures = [picture(1000 * (seed + 1) + frame, size) for frame in range(frames)]
    return Video(pictures, numbers, rate, 3 * frames)


def filming(processor: Any) -> Any:
    """The processor, or a copy of it that can make pixels of videos."""
    if not isinstance(processor.video_processor, PicturesOnly) or is_torchvision_available():
        return processor
    able = copy.copy(processor)
    able.video_processor = FrameByFrame(processor)
    return able


class FrameByFrame(PicturesOnly):
    """Every frame through the picture processor."""

    def __init__(self, processor: Any) -> None:
        super().__init__(**processor.video_processor.to_dict())
        self.images = processor.image_processor
        own = self.video_processor_type.removesuffix("VideoProcessor")
        self.pack = _PACKERS.get(own, _gridded)
        if own == "SmolVLM":
            self.model_input_names = ["pixel_values", "pixel_attention_mask"]

    def __call__(self, videos: Any, video_metadata: Any = None, do_sample_frames: Any = None, **kwargs: Any) -> Any:
        assert do_sample_frames is False
        films = [[Image.fromarray(np.moveaxis(sheet, 0, -1)) for sheet in film.numpy()] for film in videos]
        found = self.pack(self, films)
        return BatchFeature({**found, "video_metadata": [VideoMetadata(**told) for told in video_metadata]})


def _gridded(self: FrameByFrame, films: list) -> dict[str, Any]:
    """Qwen-VL and GLM-V: patches of two frames in one row of pixels."""
    rows, grids = [], []
    together = self.temporal_patch_size
    for given in films:
        film = [*given, *given[-1:] * (-len(given) % together)]
        made = [self.images(images=frame, return_tensors="pt") for frame in film]
        _, tall, wide = made[0]["image_grid_thw"][0].tolist()
        pixels = [one["pixel_values"].unflatten(-1, (3, together, -1)) for one in made]  # a picture is repeated
        for first in range(0, len(film), together):
            parts = [pixels[first + at][:, :, at] for at in range(together)]
            rows.append(torch.stack(parts, 2).flatten(1))
        grids.append([len(film) // together, tall, wide])
    return {"pixel_values_videos": torch.cat(rows), "video_grid_thw": torch.tensor(grids)}


def _untiled(self: FrameByFrame, films: list) -> dict[str, Any]:
    pixels = [
        torch.stack(
            [self.images(images=f, return_tensors="pt", crop_to_patches=False)["pixel_values"][0] for f in film]
        )
        for film in films
    ]
    return {"pixel_values_videos": torch.stack(pixels)}


def _unsplit(self: FrameByFrame, films: list) -> dict[str, Any]:
    made = [self.images(images=[film], return_tensors="pt", do_image_splitting=False) for film in films]
    longest = max(one["pixel_values"].shape[1] for one in made)

    def filled(values: Any) -> Any:
        return torch.cat([values[0], values.new_zeros(longest - values.shape[1], *values.shape[2:])])

    return {name: torch.stack([filled(one[name]) for one in made]) for name in ("pixel_values", "pixel_attention_mask")}


def _whole(self: FrameByFrame, films: list) -> dict[str, Any]:
    """The first of OneVision's tiles is the whole picture."""
    pixels = [
        torch.stack([self.images(images=frame, return_tensors="pt")["pixel_values"][0, 0] for frame in film])
        for film in films
    ]
    return {"pixel_values_videos": torch.stack(pixels)}


def _pooled(self: FrameByFrame, films: list) -> dict[str, Any]:
    made = [self.images(images=list(film), return_tensors="pt") for film in films]
    return {
        "pixel_values_videos": torch.cat([one["pixel_values"] for one in made]),
        "video_position_ids": torch.cat([one["image_position_ids"] for one in made]),
        "num_frames_per_video": torch.tensor([len(film) for film in films]),
        "num_soft_tokens_per_video": [int(one["num_soft_tokens_per_image"][0]) for one in made],
    }


_PACKERS = {"InternVL": _untiled, "SmolVLM": _unsplit, "LlavaOnevision": _whole, "Gemma4": _pooled}
