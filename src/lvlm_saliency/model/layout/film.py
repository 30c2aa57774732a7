"""Where the tokens of a video lie: which frames each shows, when they were on the screen, and where in the frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lvlm_saliency.errors import SettingError
from lvlm_saliency.model.layout.tiles import Box, ImageLayout
from lvlm_saliency.short import shown


@dataclass(frozen=True)
class VideoStep:
    """The tokens that show one frame, or several frames at once where the model reads those as one.

    frames: numbers of the frames among those that the model was shown, ascending; one, or two where a temporal patch
        takes in two.
    times: when each of them was on the screen, in seconds.
    layout: where the tokens lie in the frame (in each of the frames, where there are two).
    """

    frames: tuple[int, ...]
    times: tuple[float, ...]
    layout: ImageLayout

    def __repr__(self) -> str:
        return shown(self, frames=list(self.frames), times=[round(time, 3) for time in self.times], layout=self.layout)


@dataclass(frozen=True)
class VideoLayout:
    """All tokens of one video.

    Attributes:
        width, height: of its frames, in pixels.
        steps: in the order of time, which is that of the sequence.
        extra: int64, positions of the video's features that stand for no place in any frame.
    """

    width: int
    height: int
    steps: tuple[VideoStep, ...]
    extra: np.ndarray

    def __repr__(self) -> str:
        return shown(self, width=self.width, height=self.height, steps=len(self.steps), extra=len(self.extra))

    @property
    def positions(self) -> np.ndarray:
        """Every position of this video's features, ascending, int64."""
        return np.sort(np.concatenate([*(step.layout.positions for step in self.steps), self.extra]))

    def moved(self, by: int) -> VideoLayout:
        """The same layout in a sequence whose first position is position `by` of the present one."""
        steps = tuple(replace(step, layout=step.layout.moved(by)) for step in self.steps)
        return replace(self, steps=steps, extra=self.extra - by)

    def step_of(self, frame: int) -> VideoStep:
        """The step that shows a frame.

        Raises:
            SettingError: there is no such frame.
        """
        found = next((step for step in self.steps if frame in step.frames), None)
        if found is None:
            count = max(max(step.frames) for step in self.steps) + 1
            raise SettingError(f"there is no frame {frame}; the video has {count}, counted from 0")
        return found

    def cells(self) -> Iterator[tuple[int, VideoStep, Box]]:
        """(position, step, box in the frame) of every token with a place, the box cut to the frame."""
        for step in self.steps:
            for position, box in step.layout.cells():
                yield position, step, box

    def heatmap(self, values: np.ndarray, frame: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """Spread one value per position over a frame; frames that share their tokens share their map.

        Args:
            values: `[N]` or `[N - 1]`, one number per position of the sequence (a row of a trace).
            frame: its number among those that the model was shown.
            size: (width, height) of the map; None for the frame's own.

        Returns:
            float32 `[height, width]`, as `ImageLayout.heatmap`.

        Raises:
            SettingError: no such frame, or what `ImageLayout.heatmap` refuses.
        """
        return self.step_of(frame).layout.heatmap(values, size)

    def shares(self, values: np.ndarray) -> np.ndarray:
        """How a row's weight on this video divides over its steps: float64 `[steps]`, sum 1, or zeros where it has
        none."""
        sums = np.array([np.asarray(values, np.float64)[step.layout.positions].sum() for step in self.steps])
        return sums / sums.sum() if sums.sum() > 0 else sums
