"""What a trace alone says about every generated token, as named groups of numbers: no further pass over the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lvlm_saliency.tracing.result import SaliencyTrace

LANGUAGE = ("output", "previous", "prompt", "system")
BEFORE, AFTER = 2, 6
"""How many neighbours count: the words that led to this one (its colour, its number), and those that follow (where it
is said to stand)."""

FREE = (
    "log-probability",
    "entropy",
    "position",
    "saliency",
    "image saliency",
    "saliency concentration",
    "attention",
    "attention concentration",
    "words before",
    "words after",
)
"""The groups that a trace gives, in the order of pages."""
GRADIENT = ("saliency", "image saliency", "saliency concentration")
"""Those that need a backward pass; the others a forward pass gives as well."""


def of_trace(trace: SaliencyTrace, layers: Sequence[int] | None = None) -> dict[str, np.ndarray]:
    """Group to float32 `[B, T, features]`, read from these traced layers (default all), as `names_of` lists them.

    Saliency and attention are means over a region of one layer's row, as log10 (they fall like 1 / length); NaN where
    a region is empty, a neighbour does not exist, or the token is past the end.
    """
    layers = trace.layers if layers is None else list(layers)
    surprise = torch.stack([trace.logprobs, trace.entropy], dim=-1)
    place = torch.arange(trace.logprobs.shape[1], dtype=torch.float32).expand_as(trace.logprobs)
    groups = {
        "log-probability": trace.logprobs[..., None],
        "entropy": trace.entropy[..., None],
        "position": torch.stack([place, torch.log1p(place)], dim=-1),
        "saliency": _regions(trace.scores, LANGUAGE, layers),
        "image saliency": _regions(trace.scores, ("image",), layers),
        "saliency concentration": _concentration(trace, trace.rows, layers),
        "attention": _regions(trace.attention_scores, (*LANGUAGE, "image"), layers),
        "attention concentration": _concentration(trace, trace.attention, layers),
        "words before": _shifted(surprise, range(-BEFORE, 0)),
        "words after": _shifted(surprise, range(1, AFTER + 1)),
    }
    return {name: values.float().numpy() for name, values in groups.items()}


def names_of(group: str, layers: Sequence[int]) -> list[str]:
    """The features of a free group, for these traced layers."""
    neighbours = {"words before": range(-BEFORE, 0), "words after": range(1, AFTER + 1)}
    if group in neighbours:
        return [f"{kind} of token {shift:+d}" for shift in neighbours[group] for kind in ("log p", "entropy")]
    per_layer = {
        "saliency": [f"saliency on {region}" for region in LANGUAGE],
        "image saliency": ["saliency on image"],
        "attention": [f"attention on {region}" for region in (*LANGUAGE, "image")],
        "saliency concentration": ["entropy of saliency over the image", "largest share of saliency in it"],
        "attention concentration": ["entropy of attention over the image", "largest share of attention in it"],
    }
    if group in per_layer:
        return [f"{name}, layer {layer}" for layer in layers for name in per_layer[group]]
    return {
        "log-probability": ["log p"],
        "entropy": ["entropy"],
        "position": ["position", "log(1 + position)"],
    }[group]


def _regions(read: Callable[..., Tensor], regions: Sequence[str], layers: Sequence[int]) -> Tensor:
    """`[B, T, layers * regions]`."""
    values = [read(region, [layer]) for layer in layers for region in regions]
    return torch.log10(torch.stack(values, dim=-1) + 1e-6)


def _concentration(trace: SaliencyTrace, rows: Tensor, layers: Sequence[int]) -> Tensor:
    """Entropy (of its maximum, 0 to 1) and largest share of each row over the image, `[B, T, layers * 2]`."""
    image = trace.regions.image[:, : trace.rows.shape[-1]]
    count = image.sum(-1)[:, None, None]
    index = trace.layer_index(layers)
    inside = rows[:, index] * image[:, None, None]
    share = inside / inside.sum(-1, keepdim=True)  # without an image 0 / 0: NaN, no value
    entropy = -torch.special.xlogy(share, share).sum(-1) / torch.log(count.float())
    values = torch.stack([entropy, share.amax(-1)], dim=-1)  # [B, layers, T, 2]
    values = values.masked_fill(~trace.valid[:, None, :, None], float("nan"))
    return values.permute(0, 2, 1, 3).flatten(2)


def _shifted(values: Tensor, shifts: range) -> Tensor:
    """The neighbours' values `[B, T, len(shifts) * F]`, NaN where there is none."""
    count = values.shape[1]
    found = []
    for shift in shifts:
        moved = torch.full_like(values, float("nan"))
        if abs(shift) < count:
            moved[:, max(0, -shift) : count - max(0, shift)] = values[:, max(0, shift) : count + min(0, shift)]
        found.append(moved)
    return torch.cat(found, dim=-1)
