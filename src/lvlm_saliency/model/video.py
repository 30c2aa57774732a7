"""`Video`: the frames of a video that a model is shown, and when each of them was on the screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lvlm_saliency.errors import InputError
from lvlm_saliency.short import shown

if TYPE_CHECKING:
    from torch import Tensor

FRAMES = 8
"""The default number of frames that are sampled from a video."""
MOST_FRAMES = 1024
MILLISECONDS = 1000.0
"""The rate of a source whose frames do not come at one: they are then counted in milliseconds."""


@dataclass(frozen=True)
class Video:
    """Frames of a video, in order.

    Attributes:
        frames: RGB pictures of one size.
        indices: of each frame, its number in the source, counted from 0. Ascending; two may be alike only where the
            source gave one frame twice.
        rate: frames of the source per second, so that frame i was shown `indices[i] / rate` seconds after the start. A
            source whose frames do not come at one rate counts in milliseconds (`rate` 1000).
        total: the length of the source, in the same count; `total / rate` seconds.
        timed: whether the source said when its frames were shown; where it did not, `rate` is an assumption.

    Raises:
        InputError: no frames, frames of different sizes, or numbers that are no such count.
    """

    frames: Sequence[Image.Image]
    indices: Sequence[int]
    rate: float
    total: int
    timed: bool = True

    def __post_init__(self) -> None:
        if not self.frames:
            raise InputError("a video needs at least one frame")
        for number, frame in enumerate(self.frames):
            if not isinstance(frame, Image.Image):
                raise InputError(f"frame {number} is {type(frame).__name__}, not a picture: open it with ls.open_image")
            if frame.size != self.size:
                raise InputError(
                    f"frame {number} is {frame.width} x {frame.height} pixels and the first {self.size[0]} x "
                    f"{self.size[1]}: all frames of a video must be of one size"
                )
        counted = list(self.indices)
        if len(counted) != len(self.frames) or any(a > b for a, b in pairwise(counted)):
            raise InputError(f"a video of {len(self.frames)} frames needs as many ascending numbers of frames")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"a video's rate must be a number of frames per second above 0, not {self.rate!r}")
        if counted[0] < 0 or counted[-1] >= self.total:
            raise InputError(f"frames {counted[0]} to {counted[-1]} are not all among the {self.total} of the source")

    def __repr__(self) -> str:
        return shown(self, frames=len(self.frames), size=list(self.size), seconds=f"{self.duration:.1f}")

    @classmethod
    def of(
        cls, frames: Sequence[Image.Image], rate: float | None = None, times: Sequence[float] | None = None
    ) -> Video:
        """A video of given frames.

        Args:
            frames: all that the model is to be shown.
            rate: frames per second; where it is not known, one.
            times: in place of a rate: when each frame was shown, in seconds, ascending from 0 or later.

        Raises:
            InputError: as the class, or both a rate and times.
        """
        frames = list(frames)
        if times is None:
            return cls(frames, range(len(frames)), 1.0 if rate is None else rate, len(frames), rate is not None)
        if rate is not None:
            raise InputError("a video has a rate or times, not both")
        if len(times) != len(frames) or not all(math.isfinite(time) and time >= 0 for time in times):
            raise InputError(f"{len(frames)} frames need as many times in seconds, from 0 on")
        counted = [round(time * MILLISECONDS) for time in times]
        last = counted[-1] - counted[-2] if len(counted) > 1 else 0
        return cls(frames, counted, MILLISECONDS, counted[-1] + max(last, 1) if counted else 1)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of every frame, in pixels."""
        return self.frames[0].size

    @property
    def times(self) -> list[float]:
        """When each frame was shown, in seconds."""
        return [number / self.rate for number in self.indices]

    @property
    def duration(self) -> float:
        """Of the whole source, in seconds."""
        return self.total / self.rate

    def metadata(self) -> dict[str, Any]:
        """What transformers' processors ask to know of a video."""
        return {
            "total_num_frames": self.total,
            "fps": self.rate,
            "width": self.size[0],
            "height": self.size[1],
            "duration": self.duration,
            "frames_indices": list(self.indices),
        }

    def pixels(self) -> Tensor:
        """uint8 `[frames, 3, height, width]`."""
        import torch

        sheets = np.stack([np.asarray(frame.convert("RGB")) for frame in self.frames])
        return torch.from_numpy(sheets).permute(0, 3, 1, 2).contiguous()


def evenly(total: int, count: int) -> list[int]:
    """`count` of the numbers 0 to `total - 1` (all, where there are no more), evenly spread with both ends."""
    if total <= count:
        return list(range(total))
    return [0] if count == 1 else np.linspace(0, total - 1, count).round().astype(int).tolist()


def stamp(seconds: float) -> str:
    """A time as people read it: `3.5 s`, `2:07`, `1:02:07`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
