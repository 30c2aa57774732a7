"""The common part of `explain` and `generate`: open pictures and videos, load a model, and ask it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..errors import ImageError, InputError, PromptError
from .output import say

if TYPE_CHECKING:
    from PIL.Image import Image

    from lvlm_saliency.model.video import Video

    from ..chat import Chat, Query
    from .asked import Asked

NO_TIMES = "nothing says when these frames were shown: one a second is assumed; --fps says otherwise"


def open_images(asked: Asked) -> list[Image]:
    """Open every picture and check the prompt, before a model is loaded."""
    from lvlm_saliency.model.images import open_image

    if not asked.prompt.strip():
        raise PromptError("the prompt is empty; say what to do, for example --prompt 'Describe this picture.'")
    if list(asked.images).count("-") > 1:
        raise ImageError("only one picture can be read from stdin; give the others as files")
    return [open_image(sys.stdin.buffer if path == "-" else path, frame=asked.frame) for path in asked.images]


def open_videos(asked: Asked) -> list[Video]:
    """Every video, before a model is loaded for nothing."""
    import click

    if not asked.videos and (asked.frames is not None or asked.fps is not None):
        raise click.UsageError("--frames and --fps say how a video is read; give --video PATH as well")
    if not asked.videos:
        return []
    from lvlm_saliency.model.video import FRAMES
    from lvlm_saliency.model.video_files import open_video

    from .notes import once

    found = [open_video(path, FRAMES if asked.frames is None else asked.frames, asked.fps) for path in asked.videos]
    if not all(video.timed for video in found):
        once(NO_TIMES)
    return found


def begin(asked: Asked) -> tuple[Chat, Query]:
    """What is to be asked, opened, and the model, loaded."""
    images, videos = open_images(asked), open_videos(asked)
    from ..chat import Chat, Query
    from ..interventions.preset_files import notes
    from .notes import about_pictures

    chat = Chat.load(asked.model, dtype=asked.dtype, device=asked.device, revision=asked.revision)
    for line in notes(asked.methods, chat.model):
        say(f"note: {line}", err=True)
    about_pictures(chat.model, chat.processor, images or [frame for video in videos for frame in video.frames])
    return chat, Query(asked.prompt, images, videos=videos)


def sampling(temperature: float | None, top_p: float | None) -> dict[str, Any]:
    """Settings of `generate`: sampling when a temperature above 0 or a nucleus is asked for, greedy otherwise."""
    if temperature == 0 or (temperature is None and top_p is None):
        if top_p is not None:
            raise InputError("--top-p samples and --temperature 0 does not; leave one of them out")
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {
        "do_sample": True,
        "temperature": temperature or 1.0,
        "top_p": top_p if top_p is not None else 1.0,
        "top_k": 0,
    }
