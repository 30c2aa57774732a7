"""Checks the decoder layers that a user names against a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lvlm_saliency.errors import SettingError
from lvlm_saliency.hf.decoder import attention_layers, supported_decoder


def target_layers(model: Any, layers: Sequence[int] | None) -> list[int]:
    """`layers` checked and sorted; every layer with attention for None.

    Raises:
        SettingError: not a list of layer numbers that have attention.
        UnsupportedModelError: the model's attention cannot be captured.
    """
    supported_decoder(model)
    known = attention_layers(model)
    if layers is None:
        return known
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        raise SettingError(f"layers={layers!r}: give a list of layer numbers, or None for all of {_ranges(known)}")
    layers = list(layers)
    wrong = [n for n in layers if n not in known]
    if wrong or not layers:
        raise SettingError(f"layers {wrong}: choose among the layers with attention, {_ranges(known)}")
    return sorted(set(layers))


def _ranges(numbers: list[int]) -> str:
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}..{numbers[-1]}"
    return ", ".join(map(str, numbers))
