"""Notes on pictures and model, printed on stderr once per process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lvlm_saliency.model.checkpoints import is_shipped

from .output import say

NO_PICTURE = "no picture was given to a model that sees pictures: its answer is about none; --image gives it one"
_told: set[str] = set()


def about_pictures(model: Any, processor: Any, images: Sequence[Any]) -> None:
    """Note when a model that sees pictures gets none, and when the shipped model gets pictures that it was not trained
    for."""
    if not images and hasattr(processor, "image_processor"):
        once(NO_PICTURE)
    if images and is_shipped(model):
        from ..scenes.recognise import NOT_A_SCENE, is_scene

        if not all(map(is_scene, images)):
            once(NOT_A_SCENE)


def once(line: str) -> None:
    """Print `note: line` on stderr, unless this process has said it before."""
    if line not in _told:
        _told.add(line)
        say(f"note: {line}", err=True)
