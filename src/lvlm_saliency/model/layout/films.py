"""Where each family puts the tokens of a video: the rules that transformers' processors write by.

What a processor writes between frames (their times, marks around them) is text of the prompt, no token of the video.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lvlm_saliency.errors import InputError, UnsupportedModelError
from lvlm_saliency.model import families
from lvlm_saliency.model.layout.facts import edge
from lvlm_saliency.model.layout.film import VideoLayout
from lvlm_saliency.model.layout.film_sample import APART, NONE, Cursor, Sample
from lvlm_saliency.model.layout.tiles import Box, side_of, whole
from lvlm_saliency.model.video import Video

Place = Callable[[Sample], list[VideoLayout]]


def video_layouts(
    processor: Any, inputs: Mapping[str, Any], videos: Sequence[Sequence[Video]], model: Any = None
) -> list[list[VideoLayout]]:
    """Which frames, when, and where in them every token of a video shows.

    Args:
        processor: the one that made `inputs`, with the settings that it had then.
        inputs: all that it returned: `input_ids` `[batch, n0]` with placeholders expanded, `video_grid_thw` and so on.
        videos: those of every sample, as they were given to the processor.
        model: helps where a processor does not say its own settings.

    Returns:
        One list per sample with one VideoLayout per video; the positions of a sample's layouts are exactly the features
        of its videos.

    Raises:
        UnsupportedModelError: the family takes no videos, or it is not known here where its tokens lie.
        InputError: videos, inputs and processor settings do not belong together.
    """
    if "input_ids" not in inputs:
        raise InputError("the inputs hold no input_ids: pass what the processor returned")
    ids = _on_cpu(inputs["input_ids"]).astype(np.int64)
    if len(videos) != len(ids):
        raise InputError(f"videos of {len(videos)} samples for {len(ids)} prompts: pass one list of videos per prompt")
    if not any(videos):
        return [[] for _ in videos]
    config = getattr(model, "config", None)
    place = _place(processor, config)
    found, first = [], 0
    for row, own in enumerate(videos):
        sample = Sample(ids[row], row, list(own), first, processor, config, inputs)
        found.append(place(sample) if own else [])
        first += len(own)
    return found


def _place(processor: Any, config: Any) -> Place:
    name = type(processor).__name__
    family = (families.find(config.model_type) if config is not None else None) or families.of_processor(name)
    if family is None or family.film is None:
        told = family.name if family is not None else name
        raise UnsupportedModelError(f"it is not known here which tokens of {told} show which frame of a video")
    place: Place = globals()[family.film.partition(":")[2]]
    return place


def pairs(sample: Sample) -> list[VideoLayout]:
    """The Qwen-VL lines: grids of `video_grid_thw`, each over as many frames as a temporal patch takes in (two)."""
    return _gridded(sample, sample.filmed(), _stretched)


def typed_pairs(sample: Sample) -> list[VideoLayout]:
    """GLM-V: as Qwen-VL, with the token of pictures; `mm_token_type_ids` tells them apart (2: video)."""
    return _gridded(sample, _typed(sample), _stretched)


def cornered_pairs(sample: Sample) -> list[VideoLayout]:
    """GLM-5V: as GLM-V; frames keep their shape, in the upper left corner of whole cells."""

    def box(sample: Sample, video: Video, rows: int, cols: int) -> Box:
        frames = len(video.frames)
        merge, patch = int(sample.setting("merge_size")), int(sample.setting("patch_size"))
        width, height = video.size
        full = rows * patch, cols * patch
        scale = min(full[0] / height, full[1] / width)
        smallest = int(sample.setting("temporal_patch_size")) * (patch * merge) ** 2
        if frames * height * width >= smallest * sample.setting("min_image_tokens"):
            scale = min(1.0, scale)
        tall, wide = (
            max(1, min(most, math.floor(own * scale))) for most, own in zip(full, (height, width), strict=True)
        )
        return 0.0, 0.0, width * full[1] / wide, height * full[0] / tall

    return _gridded(sample, _typed(sample), box)


def _typed(sample: Sample) -> np.ndarray:
    return np.flatnonzero(_on_cpu(sample.given("mm_token_type_ids")[sample.row]) == 2)


def _stretched(sample: Sample, video: Video, rows: int, cols: int) -> Box:
    return whole(*video.size)


def _gridded(sample: Sample, positions: np.ndarray, box: Callable[[Sample, Video, int, int], Box]) -> list[VideoLayout]:
    merge, together = int(sample.setting("merge_size")), int(sample.setting("temporal_patch_size"))
    cursor, found = Cursor(positions), []
    for number, video in enumerate(sample.videos, sample.first):
        count, rows, cols = (int(value) for value in sample.given("video_grid_thw")[number])
        if count != math.ceil(len(video.frames) / together):
            raise InputError(f"a video of {len(video.frames)} frames has {count} grids in the inputs: {APART}")
        place = box(sample, video, rows, cols)
        steps = [
            cursor.step(video, range(step * together, (step + 1) * together), rows // merge, cols // merge, place)
            for step in range(count)
        ]
        found.append(VideoLayout(*video.size, tuple(steps), NONE))
    cursor.done()
    return found


def halved_frames(sample: Sample) -> list[VideoLayout]:
    """LLaVA-OneVision: every frame resized to the encoder's square, its grid halved; one newline at the very end."""
    side = edge(sample.setting("size"), "height")
    tokens = side_of(int(sample.setting("num_image_tokens")))
    if side is None or tokens is None:
        raise InputError(
            f"frames of {sample.setting('size')} with {sample.setting('num_image_tokens')} tokens: {APART}"
        )
    half, share = math.ceil(tokens / 2), tokens * _patch(sample) / side
    cursor, found = Cursor(sample.filmed()), []
    for video in sample.videos:
        box = 0.0, 0.0, video.size[0] * share, video.size[1] * share
        steps = [cursor.step(video, [frame], half, half, box) for frame in range(len(video.frames))]
        found.append(VideoLayout(*video.size, tuple(steps), cursor.take(1)))
    cursor.done()
    return found


def pooled_frames(sample: Sample) -> list[VideoLayout]:
    """Gemma 4: one grid to a frame, several patches pooled into a token."""
    return _placed(sample, int(sample.setting("pooling_kernel_size")))


def placed_frames(sample: Sample) -> list[VideoLayout]:
    """Gemma 4 without a vision tower: one token for each patch."""
    return _placed(sample, 1)


def _placed(sample: Sample, pool: int) -> list[VideoLayout]:
    places, counts = sample.given("video_position_ids"), sample.given("num_frames_per_video")
    cursor, found = Cursor(sample.filmed()), []
    for number, video in enumerate(sample.videos, sample.first):
        if int(counts[number]) != len(video.frames):
            raise InputError(f"a video of {len(video.frames)} frames has {int(counts[number])} in the inputs: {APART}")
        own = _on_cpu(places[sum(int(count) for count in counts[:number])])  # all its frames are cut alike
        cols, rows = (int(last) + 1 for last in own.max(0))  # padding is -1
        steps = [cursor.step(video, [frame], rows // pool, cols // pool) for frame in range(len(video.frames))]
        found.append(VideoLayout(*video.size, tuple(steps), NONE))
    cursor.done()
    return found


def named_frames(sample: Sample) -> list[VideoLayout]:
    """InternVL: "Frame1: " and one picture's worth of tokens, "Frame2: " and the next; pictures have no such names."""
    runs, found = _runs(sample.pictured()), []
    left, side = 0, edge(sample.setting("size"), "height")
    for video in sample.videos:
        count = len(video.frames)
        starts = (start for start in range(left, len(runs) - count + 1) if _are_named(sample, runs[start:], count))
        start = next(starts, None)
        if start is None:
            raise InputError(f"the prompt does not name {count} frames one after the other, as a video's: {APART}")
        left = start + count
        found.append(_tiled(sample, video, runs[start:left], int(sample.setting("image_seq_length")), side))
    if any(_are_named(sample, runs[start:], len(sample.videos[-1].frames)) for start in range(left, len(runs))):
        raise InputError("the prompt itself names pictures as a video's frames (Frame1: ...): name them otherwise")
    return found


def _are_named(sample: Sample, runs: Sequence[np.ndarray], count: int) -> bool:
    """Whether the first of these runs are frames 1 to `count` of a video, and no more."""
    own = len(runs) >= count and all(_named(sample, run, frame) for frame, run in enumerate(runs[:count], 1))
    return own and not (len(runs) > count and _named(sample, runs[count], count + 1))


def _named(sample: Sample, run: np.ndarray, frame: int) -> bool:
    before = sample.ids[max(0, int(run[0]) - 13) : int(run[0]) - 1]  # up to the mark that begins a picture
    return sample.processor.tokenizer.decode(before.tolist()).endswith(f"Frame{frame}: ")


def timed_frames(sample: Sample) -> list[VideoLayout]:
    """SmolVLM: a frame is a picture that is not cut into tiles; its processor takes no pictures beside videos."""
    runs = _runs(sample.pictured())
    if len(runs) != sum(len(video.frames) for video in sample.videos):
        raise InputError(f"the prompt holds {len(runs)} frames and its videos others: {APART}")
    found, used = [], 0
    for video in sample.videos:
        own = runs[used : used + len(video.frames)]
        used += len(own)
        side = edge(sample.setting("max_image_size"), "longest_edge")
        found.append(_tiled(sample, video, own, int(sample.setting("image_seq_len")), side))
    return found


def _tiled(sample: Sample, video: Video, runs: Sequence[np.ndarray], tokens: int, pixels: int | None) -> VideoLayout:
    """Frames stretched to the encoder's square of so many pixels, of which whole patches are seen."""
    side = side_of(tokens)
    if side is None or pixels is None or any(len(run) != tokens for run in runs):
        raise InputError(f"frames of {sorted({len(run) for run in runs})} tokens where {tokens} are a frame: {APART}")
    patch = _patch(sample)
    share = pixels // patch * patch / pixels
    box = 0.0, 0.0, video.size[0] * share, video.size[1] * share
    cursor = Cursor(np.concatenate(runs))
    steps = [cursor.step(video, [frame], side, side, box) for frame in range(len(runs))]
    return VideoLayout(*video.size, tuple(steps), NONE)


def _on_cpu(values: Any) -> np.ndarray:
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)


def _runs(positions: np.ndarray) -> list[np.ndarray]:
    """Stretches of positions that follow one another."""
    return [run for run in np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1) if len(run)]


def _patch(sample: Sample) -> int:
    """Pixels of a patch's side, which for these families only the model says."""
    vision = getattr(sample.config, "vision_config", None)
    patch = getattr(vision, "patch_size", None)
    if patch is None:
        raise InputError("the processor does not say the patch size of its frames: pass model= as well")
    return int(patch[0] if isinstance(patch, (list, tuple)) else patch)
