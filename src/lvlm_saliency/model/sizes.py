"""Checks that a checkpoint's configuration fits the size of its files, before memory is allocated for it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from lvlm_saliency.errors import ModelError
from lvlm_saliency.files.tensors import read_header
from lvlm_saliency.model.images import MAX_PIXELS

_COUNTS = ("layers", "depth", "n_layer", "num_blocks", "beams", "num_stages")
_LARGEST = 2**40
_MOST_LAYERS = 10_000
_LONGEST_SIDE = 16_384
_SLACK = 10_000_000
"""Numbers that a model may have beyond its weights (tables that it computes); missing weights are reported later."""
_PACKED = 32
"""A quantised file may hold so many weights in a number."""


def held_by(shards: Iterable[Path]) -> tuple[int, int]:
    """How many tensors the files hold, and how many numbers.

    Raises:
        InputError: a file's header is damaged.
        ModelError: a tensor's name would steer a terminal.
    """
    tensors = numbers = 0
    for shard in shards:
        for name, about in read_header(shard, "weights").items():
            if name == "__metadata__":
                continue
            if not name.isprintable():
                raise ModelError(f"{shard} names a tensor with control characters: {name!a}")
            shape = about.get("shape") if isinstance(about, dict) else None
            tensors += 1
            numbers += math.prod(shape) if isinstance(shape, list) and all(type(n) is int for n in shape) else 0
    return tensors, numbers


def check_settings(settings: Mapping[str, Any], shown: str) -> None:
    """Refuse numbers in a config.json that no model has: counts of layers and of beams, and sizes beyond any.

    Raises:
        ModelError: such a number; the message names it.
    """
    for name, value in _numbers(settings):
        if not math.isfinite(value):
            raise ModelError(f"the config.json of {shown} has {name} = {value}")
        counted = any(word in name.rsplit(".", 1)[-1] for word in _COUNTS)
        if isinstance(value, int) and (abs(value) > _LARGEST or (counted and value > _MOST_LAYERS)):
            raise ModelError(f"the config.json of {shown} asks for {name} = {value:,}, more than any model has")


def check_weights(auto: Any, config: Any, shards: Iterable[Path], shown: str) -> None:
    """Compare the size of the model that `config` describes, built without memory, with that of its weights.

    Raises:
        ModelError: it is far larger, or has more layers than its files have tensors.
    """
    tensors, held = held_by(shards)
    for name, value in _numbers(config.to_dict()):
        if name.endswith(("num_hidden_layers", "num_layers", "depth")) and isinstance(value, int) and value > tensors:
            raise ModelError(f"the config.json of {shown} asks for {name} = {value:,}, and its weights are {tensors}")
    with torch.device("meta"):
        model = auto.from_config(copy.deepcopy(config))
    asked = sum(values.numel() for values in (*model.parameters(), *model.buffers()))
    packed = _PACKED if getattr(config, "quantization_config", None) is not None else 4
    if asked > packed * held + _SLACK:
        raise ModelError(
            f"the config.json of {shown} asks for a model of {asked:,} numbers, and its weights hold {held:,}"
        )


def check_processor(processor: Any, shown: str) -> None:
    """Refuse picture sizes so large that resizing would exhaust memory.

    Raises:
        ModelError: a size of the image processor; the message names it.
    """
    images = getattr(processor, "image_processor", None)
    if images is None:
        return
    settings = images.to_dict()
    # Some families count pixels of the whole picture where others give the length of an edge.
    edge = MAX_PIXELS if {"min_pixels", "merge_size", "temporal_patch_size"} & set(settings) else _LONGEST_SIDE
    limits = {"height": _LONGEST_SIDE, "width": _LONGEST_SIDE, "shortest_edge": edge, "longest_edge": edge}
    limits |= {"max_pixels": MAX_PIXELS, "min_pixels": MAX_PIXELS, "max_patches": 10_000, "min_patches": 10_000}
    for name, value in _numbers(settings):
        last = name.rsplit(".", 1)[-1]
        most = limits.get(last, _LONGEST_SIDE if "size" in name or "pinpoints" in name else _LARGEST)
        if not math.isfinite(value) or value > most:
            raise ModelError(f"the image processor of {shown} asks for {name} = {value:,}, and the most is {most:,}")


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, int | float]]:
    """Every number within mappings and lists, with its dotted name."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _numbers(below, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for below in value:
            yield from _numbers(below, name)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value
