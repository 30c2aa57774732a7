"""The options that `explain` and `generate` share, as one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """What the options that `explain` and `generate` share were set to."""

    images: Sequence[str]
    prompt: str
    model: str
    revision: str | None
    device: str | None
    dtype: str
    frame: int | None
    methods: Sequence[str]
    max_new_tokens: int
    temperature: float | None
    top_p: float | None
    seed: int
