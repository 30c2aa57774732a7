"""Counterfactual attention of CausalMM: edited rows of the decoder, and edited maps of the vision tower."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.decoding.draws import generator
from lvlm_saliency.errors import UnsupportedModelError
from lvlm_saliency.interventions.noise import rows_of_samples


def edited_rows(
    weights: Tensor,
    visible: Tensor,
    edit: str,
    normalise: bool,
    noise: Tensor | None = None,
    total: Tensor | None = None,
) -> Tensor:
    """Counterfactual rows, float32 `[B, H, t, K]`, zero where `visible` (broadcastable bool) is False.

    Args:
        weights: rows after the softmax, float32 `[B, H, t, K]`.
        visible: which keys each row sees.
        edit: "reverse", "uniform" or "random".
        normalise: whether to divide each row by its sum.
        noise: uniform numbers of the rows' shape, for "random".
        total: divides "uniform" and "random" rows in place of their own sum (broadcastable). Where it counts keys that
            a row does not see, the row sums to less than 1.
    """
    if total is not None and edit != "reverse":
        return (torch.ones_like(weights) if edit == "uniform" else cast(Tensor, noise)) * visible / total
    if edit == "uniform":
        edited = torch.ones_like(weights) * visible
        return edited / edited.sum(-1, keepdim=True).clamp_min(1)
    edited = (weights.amax(-1, keepdim=True) - weights if edit == "reverse" else cast(Tensor, noise)) * visible
    return edited / edited.sum(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) if normalise else edited


def hashed_uniform(
    seed: int, numbers: Tensor, layer: int, heads: int, queries: Tensor, keys: Tensor, pads: Tensor
) -> Tensor:
    """Numbers in [0, 1), float32 `[B, H, t, K]`: a function of (seed, sample, layer, head, row, column). They do not
    depend on the other samples of the batch, on padding or on the order of computation.

    Args:
        seed: the seed.
        numbers: one number per sample, int64 `[B]`.
        layer: decoder layer number.
        heads: number of heads H.
        queries: absolute positions, int64 `[t]`.
        keys: absolute positions, int64 `[K]`.
        pads: number of padding positions of each sample, int64 `[B]`.
    """
    value = _scrambled(numbers + _scrambled(torch.tensor(seed, device=numbers.device)) + layer)[:, None]
    value = _scrambled(value + torch.arange(heads, device=numbers.device))  # [B, H]
    value = _scrambled(value[:, :, None] + (queries - pads[:, None])[:, None])  # [B, H, t]
    value = _scrambled(value[..., None] + (keys - pads[:, None])[:, None, None])
    return (value & 0xFFFFFF).float() / 2**24


def _scrambled(x: Tensor) -> Tensor:
    """The finaliser of a 64-bit hash (splitmix64), on int64 whose products wrap."""
    x = x + (0x9E3779B97F4A7C15 - 2**64)
    x = (x ^ ((x >> 30) & (2**34 - 1))) * (0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ ((x >> 27) & (2**37 - 1))) * (0x94D049BB133111EB - 2**64)
    return x ^ ((x >> 31) & (2**33 - 1))


def clip_tower(model: Any) -> tuple[torch.nn.Module, torch.nn.Module] | None:
    """The CLIP vision tower and the projector of a model that reads one picture at a time, or None."""
    inner = getattr(model, "model", None)
    tower, projector = getattr(inner, "vision_tower", None), getattr(inner, "multi_modal_projector", None)
    if model.config.model_type != "llava" or tower is None or projector is None:
        return None
    return (tower, projector) if tower.config.model_type == "clip_vision_model" else None


def edited_maps(maps: Tensor, edit: str, draws: torch.Generator) -> Tensor:
    """A tower's attention maps `[H, S, S]`, edited."""
    heads, size, _ = maps.shape
    if edit == "uniform":
        return maps.mean(dim=(1, 2), keepdim=True).expand_as(maps)
    if edit == "reverse":
        return maps.amax(dim=(1, 2), keepdim=True) - maps
    if edit == "random":
        return 2 * torch.rand(maps.shape, generator=draws).to(maps)
    orders = torch.stack([torch.randperm(size * size, generator=draws) for _ in range(heads)]).to(maps.device)
    return maps.flatten(1).gather(1, orders).view_as(maps)


def feature_weights(maps: Tensor, tokens: int) -> Tensor:
    """Edited maps `[H, S, S]` resized to the grid of the `tokens` features, mean over heads: `[tokens]`."""
    side = round(tokens**0.5)
    resized = torch.nn.functional.interpolate(maps[None], size=(side, side), mode="bilinear", align_corners=False)
    return resized[0].mean(0).flatten()


def weighed_features(
    model: Any, edit: str, seed: int, inputs: dict[str, Any], numbers: Sequence[int]
) -> Callable[[], AbstractContextManager[None]]:
    """A context in which the model encodes its pictures with features weighed by edited attention."""
    counts = rows_of_samples(model, inputs)
    owners = [number for number, count in zip(numbers, counts, strict=True) for _ in range(count)]

    @contextmanager
    def encoding() -> Iterator[None]:
        found = clip_tower(model)
        if found is None:
            raise UnsupportedModelError("causalmm: the vision branch is defined for LLaVA-1.5 alone")
        tower, projector = found
        layer = hf.vision_layers(tower)[model.config.vision_feature_layer]
        seen: list[Tensor] = []
        thread = threading.get_ident()

        def weigh(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if threading.get_ident() != thread:
                return None
            draws = {number: generator(seed, number, stream=1) for number in set(owners)}
            weights = [
                feature_weights(edited_maps(maps.float(), edit, draws[number]), args[0].shape[1])
                for maps, number in zip(seen.pop(), owners, strict=True)
            ]
            return (args[0] * torch.stack(weights)[..., None].to(args[0].dtype), *args[1:])

        def see(_module: Any, _args: Any, output: Any) -> None:
            if threading.get_ident() == thread:
                seen.append(output[1])

        hooks = [layer.self_attn.register_forward_hook(see), projector.register_forward_pre_hook(weigh)]
        try:
            with hf.eager_vision(tower):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    return encoding
