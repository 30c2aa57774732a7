"""One sample with videos, and its positions taken one after the other: what every family's rule is written with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlm_saliency.errors import InputError
from lvlm_saliency.model.layout.film import VideoStep
from lvlm_saliency.model.layout.tiles import Box, ImageLayout, ImageTile, whole
from lvlm_saliency.model.video import Video

APART = "pass the videos, the inputs and the processor settings that belong together"
NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class Sample:
    """What one sample was shown.

    Attributes:
        ids: int64 `[n0]`, its token ids.
        row: its number in the batch.
        videos: its videos.
        first: the number of the first of them among those of the whole batch.
    """

    ids: np.ndarray
    row: int
    videos: Sequence[Video]
    first: int
    processor: Any
    config: Any
    inputs: Mapping[str, Any]

    def setting(self, name: str) -> Any:
        """A setting by name: the video processor's, the processor's, the model's, its vision tower's."""
        vision = getattr(self.config, "vision_config", None)
        sources = self.processor.video_processor, self.processor, self.config, vision
        found = next((value for source in sources if (value := getattr(source, name, None)) is not None), None)
        if found is None:
            raise InputError(f"the processor does not say its {name}: pass model= as well")
        return found

    def given(self, name: str) -> Any:
        """A tensor of the inputs."""
        if self.inputs.get(name) is None:
            raise InputError(f"the inputs hold no {name}: pass everything that the processor returned")
        return self.inputs[name]

    def filmed(self) -> np.ndarray:
        """Positions of the token that stands for videos alone."""
        sources = self.config, getattr(self.processor, "tokenizer", None), self.processor
        tokens = (getattr(source, "video_token_id", None) for source in sources)
        token = next((token for token in tokens if isinstance(token, int)), None)
        if token is None:
            raise InputError("neither the processor nor a model says which token stands for a video: pass model= too")
        return np.flatnonzero(self.ids == token)

    def pictured(self) -> np.ndarray:
        """Positions of the token that stands for pictures, and here for frames as well."""
        return np.flatnonzero(self.ids == self.processor.image_token_id)


@dataclass
class Cursor:
    """Takes a sample's positions one after the other."""

    positions: np.ndarray
    used: int = 0

    def take(self, count: int) -> np.ndarray:
        if self.used + count > len(self.positions):
            raise InputError(
                f"the prompt holds {len(self.positions)} video tokens, fewer than its videos take: {APART}"
            )
        self.used += count
        return self.positions[self.used - count : self.used]

    def step(self, video: Video, frames: Sequence[int], rows: int, cols: int, box: Box | None = None) -> VideoStep:
        """The next positions are one grid over these frames; the numbers after the last frame repeat it."""
        width, height = video.size
        seen = tuple(dict.fromkeys(min(frame, len(video.frames) - 1) for frame in frames))
        tile = ImageTile(self.take(rows * cols).reshape(rows, cols), box or whole(width, height), "full")
        times = video.times
        return VideoStep(seen, tuple(times[frame] for frame in seen), ImageLayout(width, height, (tile,), NONE))

    def done(self) -> None:
        if self.used != len(self.positions):
            raise InputError(
                f"the prompt holds {len(self.positions)} video tokens but its videos take {self.used}: {APART}"
            )
