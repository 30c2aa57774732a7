"""The options that `explain` and `generate` share, as one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Asked:
    """What the options that `explain` and `generate` share were set to."""

    images: Sequence[str]
    videos: Sequence[str]
    prompt: str
    model: str
    revision: str | None
    device: str | None
    dtype: str
    frame: int | None
    frames: int | None
    fps: float | None
    methods: Sequence[str]
    max_new_tokens: int
    temperature: float | None
    top_p: float | None
    seed: int

    @property
    def shown(self) -> dict[str, Any]:
        """The question and the paths of what is shown with it, as JSON has them."""
        videos = {"videos": list(self.videos)} if self.videos else {}
        return {"prompt": self.prompt, "images": list(self.images), **videos}
