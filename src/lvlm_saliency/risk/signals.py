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
AT = range(1, 2)
"""The row of the word itself is that of the token after it."""

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
CAUSAL = (
    "log-probability",
    "entropy",
    "position",
    "repetition",
    "attention",
    "attention concentration",
    "words before",
    "attention, at",
    "attention concentration, at",
    "entropy, at",
)
"""The groups that are known without a backward pass as soon as a word stands in the text: nothing of what follows it.
"at" is the row of the word itself, read when the word is fed; the others are of the row that chose it."""


def of_trace(
    trace: SaliencyTrace, layers: Sequence[int] | None = None, groups: Sequence[str] = FREE
) -> dict[str, np.ndarray]:
    """Group to float32 `[B, T, features]`, read from these traced layers (default all), as `names_of` lists them.

    Saliency and attention are means over a region of one layer's row, as log10 (they fall like 1 / length); NaN where
    a region is empty, a neighbour does not exist, or the token is past the end.
    """
    layers = trace.layers if layers is None else list(layers)
    surprise = torch.stack([trace.logprobs, trace.entropy], dim=-1)

    def attention() -> Tensor:
        return _regions(trace.attention_scores, (*LANGUAGE, "image"), layers)

    makers: dict[str, Callable[[], Tensor]] = {
        "log-probability": lambda: trace.logprobs[..., None],
        "entropy": lambda: trace.entropy[..., None],
        "position": lambda: place_of(torch.arange(trace.logprobs.shape[1]).expand_as(trace.logprobs)),
        "repetition": lambda: repetition_of(trace.token_ids),
        "saliency": lambda: _regions(trace.scores, LANGUAGE, layers),
        "image saliency": lambda: _regions(trace.scores, ("image",), layers),
        "saliency concentration": lambda: _concentration(trace, trace.rows, layers),
        "attention": attention,
        "attention concentration": lambda: _concentration(trace, trace.attention, layers),
        "words before": lambda: _shifted(surprise, range(-BEFORE, 0)),
        "words after": lambda: _shifted(surprise, range(1, AFTER + 1)),
        "attention, at": lambda: _shifted(attention(), AT),
        "attention concentration, at": lambda: _shifted(_concentration(trace, trace.attention, layers), AT),
        "entropy, at": lambda: _shifted(trace.entropy[..., None], AT),
    }
    return {name: makers[name]().float().numpy() for name in groups}


def place_of(position: Tensor) -> Tensor:
    """The group "position", `[..., 2]`, of tokens with these numbers in their texts: nothing that the text's final
    length would have to tell."""
    place = position.float()
    return torch.stack([place, torch.log1p(place)], dim=-1)


def repetition_of(token_ids: Tensor) -> Tensor:
    """The group "repetition", `[B, T, 1]`, of ids `[B, T]`: log(1 + how often the token stands earlier in its text)."""
    same = token_ids[:, :, None] == token_ids[:, None, :]
    return torch.log1p(same.tril(-1).sum(-1, keepdim=True).float())


def shares(rows: Tensor, members: Tensor) -> Tensor:
    """The group "attention" of rows of head-mean attention: log10 of their means over regions.

    rows float32 `[B, L, K]` of L layers; members bool `[B, R, K]`, the columns of R regions -> `[B, L * R]`, NaN where
    a region is empty.
    """
    total = (rows[:, :, None] * members[:, None]).sum(-1) / members.sum(-1)[:, None]
    return torch.log10(total + 1e-6).flatten(1)


def concentration(rows: Tensor, image: Tensor) -> Tensor:
    """Entropy (of its maximum, 0 to 1) and largest share of each row over the image: float32 `[..., K]` and the bool
    mask of the image's columns, which broadcasts to it -> `[..., 2]`; NaN without an image."""
    count = image.sum(-1)
    inside = rows * image
    share = inside / inside.sum(-1, keepdim=True)  # without an image 0 / 0: NaN, no value
    entropy = -torch.special.xlogy(share, share).sum(-1) / torch.log(count.float())
    return torch.stack([entropy, share.amax(-1)], dim=-1)


def names_of(group: str, layers: Sequence[int]) -> list[str]:
    """The features of a free group, for these traced layers."""
    neighbours = {"words before": range(-BEFORE, 0), "words after": range(1, AFTER + 1)}
    if group in neighbours:
        return [f"{kind} of token {shift:+d}" for shift in neighbours[group] for kind in ("log p", "entropy")]
    if group == "entropy, at":
        return ["entropy behind the word"]
    own, group = (", at the word" if group.endswith(", at") else ""), group.removesuffix(", at")
    per_layer = {
        "saliency": [f"saliency on {region}" for region in LANGUAGE],
        "image saliency": ["saliency on image"],
        "attention": [f"attention on {region}" for region in (*LANGUAGE, "image")],
        "saliency concentration": ["entropy of saliency over the image", "largest share of saliency in it"],
        "attention concentration": ["entropy of attention over the image", "largest share of attention in it"],
    }
    if group in per_layer:
        return [f"{name}, layer {layer}{own}" for layer in layers for name in per_layer[group]]
    return {
        "log-probability": ["log p"],
        "entropy": ["entropy"],
        "position": ["position", "log(1 + position)"],
        "repetition": ["log(1 + times that the token was written before)"],
    }[group]


def _regions(read: Callable[..., Tensor], regions: Sequence[str], layers: Sequence[int]) -> Tensor:
    """`[B, T, layers * regions]`."""
    values = [read(region, [layer]) for layer in layers for region in regions]
    return torch.log10(torch.stack(values, dim=-1) + 1e-6)


def _concentration(trace: SaliencyTrace, rows: Tensor, layers: Sequence[int]) -> Tensor:
    """Entropy (of its maximum, 0 to 1) and largest share of each row over the image, `[B, T, layers * 2]`."""
    image = trace.regions.image[:, None, None, : trace.rows.shape[-1]]
    values = concentration(rows[:, trace.layer_index(layers)], image)  # [B, layers, T, 2]
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
