"""From a processor's output to one layout per picture."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lvlm_saliency.errors import InputError, UnsupportedModelError
from lvlm_saliency.model import families
from lvlm_saliency.model.families import FamilyInfo
from lvlm_saliency.model.layout.facts import Cursor, Facts
from lvlm_saliency.model.layout.films import video_layouts
from lvlm_saliency.model.layout.tiles import ImageLayout
from lvlm_saliency.model.video import Video


def image_layouts(
    processor: Any,
    inputs: Mapping[str, Any],
    images: Sequence[Any],
    model: Any = None,
    videos: Sequence[Sequence[Video]] | None = None,
) -> list[list[ImageLayout]]:
    """The part of the picture that each image token of a batch stands for.

    Args:
        processor: the one that made `inputs`, with the settings that it had then.
        inputs: all that it returned: `input_ids` `[batch, n0]` with image tokens expanded, `image_grid_thw` and so on.
        images: the pictures of every sample, `[[PIL image, ...], ...]`, as they were given to the processor; a single
            picture or a flat list stands for one sample.
        model: helps where a processor does not know its own patch size or image token.
        videos: those of every sample, where there are any: some families show frames by the token of pictures.

    Returns:
        One list per sample with one ImageLayout per picture; the positions of a sample's layouts are exactly its image
        tokens. Empty lists for a text model.

    Raises:
        UnsupportedModelError: the family has no spatial grid, or one that is not known here; the message says which.
        InputError: pictures, inputs and processor settings do not belong together.
    """
    if "input_ids" not in inputs:
        raise InputError("the inputs hold no input_ids: pass what the processor returned")
    ids = np.asarray(_plain(inputs["input_ids"]), dtype=np.int64)
    samples = _per_sample(images, len(ids))
    if not any(samples):
        return [[] for _ in samples]
    config = getattr(model, "config", None)
    family = _family(processor, config)
    place = _kind_of_grid(family)
    token = _image_token(processor, config, family)
    films = video_layouts(processor, inputs, videos, model) if videos else [[] for _ in samples]

    layouts: list[list[ImageLayout]] = []
    number = 0
    for row, pictures, films_of_row in zip(ids, samples, films, strict=True):
        positions = np.flatnonzero(row == token)
        for film in films_of_row:
            positions = np.setdiff1d(positions, film.positions)
        layouts.append([])
        used = 0
        for picture in pictures:
            width, height = _size(picture)
            facts = Facts(width, height, number, len(pictures), processor, config, inputs, row)
            cursor = Cursor(positions, used)
            place(facts, cursor)
            extra = np.concatenate([np.empty(0, np.int64), *(part.ravel() for part in cursor.extra)])
            layouts[-1].append(ImageLayout(width, height, tuple(cursor.tiles), extra))
            used = cursor.used
            number += 1
        if used != len(positions):
            raise InputError(
                f"the prompt holds {len(positions)} image tokens but these pictures take {used}: "
                "pass the pictures, the inputs and the processor settings that belong together"
            )
    return layouts


def _per_sample(images: Any, batch: int) -> list[list[Any]]:
    if images is None:
        return [[] for _ in range(batch)]
    if hasattr(images, "size"):
        images = [images]
    images = list(images)
    if images and all(hasattr(image, "size") for image in images):
        images = [images] if batch == 1 else [[image] for image in images]
    if not images and batch == 1:
        images = [[]]
    if len(images) != batch:
        raise InputError(f"pictures of {len(images)} samples for {batch} prompts: pass one list of pictures per prompt")
    return [list(pictures) for pictures in images]


def _size(picture: Any) -> tuple[int, int]:
    size = getattr(picture, "size", None)
    if not isinstance(size, tuple):
        raise InputError(f"pictures must be PIL images, not {type(picture).__name__}")
    return size


def _family(processor: Any, config: Any) -> FamilyInfo:
    """The row of a family whose grid is known, found by the model or else by the processor's class."""
    name = type(processor).__name__
    family = (families.find(config.model_type) if config is not None else None) or families.of_processor(name)
    if family is None or family.grid is None:
        known = ", ".join(other.model_type for other in families.FAMILIES if other.grid)
        shown = config.model_type if config is not None else name
        reason = family.no_grid if family is not None and family.no_grid else "its image grid is not known here"
        raise UnsupportedModelError(
            f"no place in the picture for the image tokens of {shown}: {reason} (known: {known})"
        )
    return family


def _kind_of_grid(family: FamilyInfo) -> Callable[[Facts, Cursor], None]:
    """The function that places one picture's tokens."""
    module, function = str(family.grid).split(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), function)


def _image_token(processor: Any, config: Any, family: FamilyInfo) -> int:
    """The token that stands for each part of a picture. Gemma 3's processor calls the start marker its image token, so
    the model and the tokenizer are asked first."""
    tokenizer = getattr(processor, "tokenizer", None)
    if family.image_mark:
        others = [tokenizer.get_vocab().get(family.image_mark)] if tokenizer is not None else []
    else:
        others = [getattr(source, "image_token_id", None) for source in (tokenizer, processor)]
    for token in (getattr(config, "image_token_id", None), *others):
        if isinstance(token, int):
            return token
    raise InputError("neither the processor nor a model says which token stands for the picture: pass model= as well")


def _plain(ids: Any) -> Any:
    return ids.cpu().numpy() if hasattr(ids, "cpu") else ids
