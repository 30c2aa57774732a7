"""Which positions belong to a region of a trace, and which keys of each row count for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lvlm_saliency.errors import SettingError, did_you_mean

if TYPE_CHECKING:
    from lvlm_saliency.model.layout import VideoLayout
    from lvlm_saliency.tracing.result import SaliencyTrace

REGIONS = ("output", "previous", "image", "prompt", "system", "prompt+output")
PARTS = ("thinking", "answer")
"""Regions of the output of models that think before they answer; a trace has them after `with_thinking`."""
VIDEO = "video"
"""The part of the region "image" that holds videos; a trace has it after `with_videos`."""


def keys_of(trace: SaliencyTrace, region: str) -> Tensor:
    """The keys that count for each row: bool `[batch, T, N - 1]`.

    Raises:
        SettingError: a region that the trace does not have.
    """
    if region not in trace.region_names:
        if region in PARTS:
            raise SettingError(
                f"this trace has no region {region!r}: call with_thinking(processor), of a model that thinks"
            )
        if region == VIDEO:
            raise SettingError("this trace has no region 'video': explain a query with videos, or call with_videos")
        raise SettingError(f"unknown region {region!r}{did_you_mean(str(region), trace.region_names)}")
    length, count = trace.rows.shape[-1], trace.rows.shape[-2]
    keys = torch.arange(length)
    queries = torch.arange(trace.prompt_length - 1, trace.prompt_length - 1 + count)[:, None]
    if region == "previous":
        own = (keys == queries) & (queries >= trace.prompt_length)
        return own.expand(len(trace.sequences), -1, -1)
    members = torch.zeros(len(trace.sequences), length, dtype=torch.bool)
    for name in region.split("+"):
        members |= _positions(trace, name)[:, :length].to("cpu")
    return members[:, None] & (keys <= queries)


def _positions(trace: SaliencyTrace, name: str) -> Tensor:
    """The positions of a region: bool `[batch, N]`."""
    if name in PARTS:
        return _of_part(trace, name)
    found: Tensor = _of_videos(trace) if name == VIDEO else getattr(trace.regions, name)
    return found


def _of_videos(trace: SaliencyTrace) -> Tensor:
    """The positions of video tokens: bool `[batch, N]`."""
    mask = torch.zeros(trace.sequences.shape, dtype=torch.bool)
    for number, spans in enumerate(trace.videos or ()):
        for first, end in spans:
            mask[number, first:end] = True
    return mask


def _of_part(trace: SaliencyTrace, name: str) -> Tensor:
    """The generated tokens of a part of the text: bool `[batch, N]`."""
    mask = torch.zeros(trace.sequences.shape, dtype=torch.bool)
    for number, parts in enumerate(trace.parts or ()):
        for kind, first, end in parts:
            if kind == name:
                mask[number, trace.prompt_length + first : trace.prompt_length + end] = True
    return mask


def stretches(layouts: Sequence[VideoLayout]) -> list[tuple[int, int]]:
    """The spans (first position, one past the last) of consecutive positions of videos, in order."""
    positions = sorted(int(position) for layout in layouts for position in layout.positions)
    starts = [at for at, position in enumerate(positions) if not at or positions[at - 1] != position - 1]
    ends = [*starts[1:], len(positions)] if starts else []
    return [(positions[start], positions[end - 1] + 1) for start, end in zip(starts, ends, strict=True)]


def cut_parts(parts: Sequence[tuple[str, int, int]], count: int) -> list[tuple[str, int, int]]:
    """The parts of the first `count` tokens."""
    return [(kind, first, min(end, count)) for kind, first, end in parts if first < count]
