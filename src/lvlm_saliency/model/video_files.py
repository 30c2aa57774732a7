"""Opening a video that a user gave: a folder of frames, an animation, a video file, or a list of pictures.

Animations go through Pillow. Other video files are decoded by PyAV (FFmpeg's libraries), which is an extra.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lvlm_saliency.errors import ImageError, InputError
from lvlm_saliency.extras import require
from lvlm_saliency.model.images import (
    ANIMATED,
    MAX_PIXELS,
    READABLE,
    check_path,
    frame_lengths,
    is_picture,
    open_image,
)
from lvlm_saliency.model.video import FRAMES, MILLISECONDS, MOST_FRAMES, Video, evenly

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".jp2", ".avif")
SLACK = 2e-3
"""Seconds by which frames may miss a steady rate: files keep their times in milliseconds or finer."""
ONLY_FILES = {"protocol_whitelist": "file"}
"""A playlist that calls itself a video must not make anything ask the network."""


def open_video(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str] | Image.Image],
    frames: int = FRAMES,
    rate: float | None = None,
) -> Video:
    """Read some frames of a video, evenly spread from the first to the last.

    Args:
        source: a folder of pictures (in the order of the numbers in their names), a list of pictures or of paths of
            pictures, an animated GIF, PNG or WebP, or a video file (which needs the extra `video`).
        frames: how many to take; all, where there are no more.
        rate: frames per second of a folder or a list, which do not say it; where it is not known, one. A file says its
            own.

    Returns:
        The video. Frames are RGB and upright.

    Raises:
        ImageError: a frame cannot be read.
        InputError: there is no such file or folder, no frame in it, frames of different sizes, a single picture, a file
            that is no video, a rate for a file that has its own, or a package that is missing.
    """
    if not isinstance(frames, int) or isinstance(frames, bool) or not 1 <= frames <= MOST_FRAMES:
        raise InputError(f"frames must be a whole number from 1 to {MOST_FRAMES}, not {frames!r}")
    if not isinstance(source, (str, os.PathLike)):
        return _of_pictures(list(source), frames, rate)
    name = os.fspath(source)
    if os.path.isdir(name):
        return _of_pictures(_in_folder(Path(name)), frames, rate)
    try:
        check_path(name)
    except ImageError as error:
        raise InputError(str(error).replace("picture", "video")) from error
    if rate is not None:
        raise InputError(f"{name!r} says itself when its frames are shown: a rate (--fps) is for folders and lists")
    return _of_animation(name, frames) if is_picture(name) else _of_file(name, frames)


def _of_pictures(pictures: list[Any], count: int, rate: float | None) -> Video:
    if not pictures:
        raise InputError("a video needs at least one frame")
    chosen = evenly(len(pictures), count)
    opened = [open_image(pictures[number]) for number in chosen]
    for number, frame in zip(chosen, opened, strict=True):
        if frame.size != opened[0].size:
            told = f"{str(pictures[number])!r}" if isinstance(pictures[number], (str, os.PathLike)) else f"{number}"
            raise InputError(
                f"frame {told} is {frame.width} x {frame.height} pixels and the first {opened[0].width} x "
                f"{opened[0].height}: all frames of a video must be of one size"
            )
    return Video(opened, chosen, 1.0 if rate is None else rate, len(pictures), rate is not None)


def _in_folder(folder: Path) -> list[Path]:
    """Its pictures, in the order of the numbers in their names: frame2 before frame10."""
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    except OSError as error:
        raise InputError(f"cannot read the folder {str(folder)!r}: {error.strerror or error}") from error
    if not found:
        raise InputError(f"the folder {str(folder)!r} holds no frames: put pictures there ({READABLE})")
    return sorted(found, key=lambda path: (_numbered(path.name), path.name))


def _numbered(name: str) -> list[tuple[int, int, str]]:
    """A key by which runs of digits are compared as numbers."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def _of_animation(name: str, count: int) -> Video:
    lengths = frame_lengths(name)
    if len(lengths) == 1:
        kinds = ", ".join(ANIMATED)
        raise InputError(f"{name!r} is one picture, not a video: give it as a picture (--image), or give a {kinds} "
                         "that is animated, a video file, or a folder of frames")  # fmt: skip
    chosen = evenly(len(lengths), count)
    opened = [open_image(name, frame=number) for number in chosen]
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    return _timed(opened, chosen, starts, sum(lengths), round(len(lengths) / sum(lengths), 6))


def _timed(
    opened: Sequence[Image.Image], chosen: Sequence[int], starts: Sequence[float], length: float, rate: float
) -> Video:
    """A video whose frames, of which some were chosen, are shown from these seconds on: counted in frames where they
    come at a steady rate, in milliseconds where they do not."""
    if all(abs(start - number / rate) <= SLACK for number, start in enumerate(starts)):
        return Video(opened, chosen, rate, len(starts))
    counted = [round(MILLISECONDS * starts[number]) for number in chosen]
    return Video(opened, counted, MILLISECONDS, max(round(MILLISECONDS * length), counted[-1] + 1))


def _of_file(name: str, count: int) -> Video:
    require("video", "av", what=f"a video file ({Path(name).name})")
    import av

    try:
        with av.open(name, options=ONLY_FILES) as container:
            if not container.streams.video:
                raise InputError(f"{name!r} holds no video")
            times = _packet_times(container)
        for _ in range(2):  # what a file says of its frames may differ from what can be decoded
            chosen = evenly(len(times), count)
            wanted = {times[number] for number in chosen}
            with av.open(name, options=ONLY_FILES) as container:
                found, decoded, rate = _decoded(container, wanted, name)
            if wanted <= set(found):
                break
            times = sorted(decoded)
        else:
            raise InputError(f"{name!r} is damaged: its frames cannot be decoded twice alike")
    except av.FFmpegError as error:
        detail = " ".join(str(error.strerror or error).split())
        raise InputError(
            f"{name!r} is not a video that can be read ({detail}): give a video file, a {', '.join(ANIMATED)}, or a "
            "folder of frames"
        ) from error
    starts = [time - times[0] for time in times]
    steady = rate or 1 / max(starts[-1] / max(len(starts) - 1, 1), SLACK)
    return _timed([found[times[number]] for number in chosen], chosen, starts, starts[-1] + 1 / steady, steady)


def _packet_times(container: Any) -> list[float]:
    """When the frames of a file are shown, by what it says without decoding them."""
    stream = container.streams.video[0]
    packets = (packet for packet in container.demux(stream) if packet.pts is not None and packet.size)
    found = sorted({float(packet.pts * stream.time_base) for packet in packets if not packet.is_discard})
    if not found:
        raise InputError("the file holds no frame of a video: it is damaged, or something else")
    return found


def _decoded(
    container: Any, wanted: set[float], name: str
) -> tuple[dict[float, Image.Image], list[float], float | None]:
    """The wanted frames by their times, the times of all that can be decoded, and their rate where the file says it."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    found, times = {}, []
    for frame in _frames(container, stream):
        time = float(frame.pts * stream.time_base)
        times.append(time)
        if frame.width * frame.height > MAX_PIXELS:
            raise InputError(f"{name!r} has frames of {frame.width} x {frame.height} pixels, more than {MAX_PIXELS:,}")
        if time in wanted:
            found[time] = _upright(frame)
    if not times:
        raise InputError(f"{name!r} is damaged: none of its frames can be decoded")
    return found, times, float(stream.average_rate) if stream.average_rate else None


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    for frame in container.decode(stream):
        if frame.pts is not None:
            yield frame


_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


def _upright(frame: Any) -> Image.Image:
    """As a person would see it: telephones film on their side and write the turn down."""
    picture = frame.to_image().convert("RGB")
    turn = _TURNS.get(round(frame.rotation) % 360)
    return picture if turn is None else picture.transpose(turn)
