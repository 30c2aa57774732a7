"""Turns the messages of a request, with their pictures, into a `Query`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from lvlm_saliency.chat import Message, Query
from lvlm_saliency.serve.faults import Fault
from lvlm_saliency.serve.pictures import open_picture
from lvlm_saliency.serve.settings import ServeSettings

ROLES = ("system", "developer", "user", "assistant")
MOST_MESSAGES = 256
VIDEOS = ("video", "video_url", "input_video")


def query_of(body: Mapping[str, Any], settings: ServeSettings) -> Query:
    """The conversation of a request: its messages and their pictures. Raises `Fault`."""
    given = body.get("messages")
    if not isinstance(given, list) or not given or len(given) > MOST_MESSAGES:
        raise Fault(400, f"messages must be a list of 1 to {MOST_MESSAGES} messages", "messages")
    messages, pictures = [], 0
    for at, one in enumerate(given):
        place = f"messages[{at}]"
        if not isinstance(one, dict) or one.get("role") not in ROLES:
            raise Fault(400, f"{place} must be an object whose role is one of {', '.join(ROLES)}", f"{place}.role")
        for name in ("tool_calls", "function_call", "audio", "refusal"):
            if one.get(name):
                raise Fault(400, f"{name} is not served here: leave it out", f"{place}.{name}")
        parts = _parts(one.get("content"), f"{place}.content", settings, settings.max_pictures - pictures)
        pictures += sum(isinstance(part, Image.Image) for part in parts)
        messages.append(Message("system" if one["role"] == "developer" else one["role"], parts))
    return Query(messages=messages)


def _parts(content: Any, param: str, settings: ServeSettings, left: int) -> list[str | Image.Image]:
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list) or not content:
        raise Fault(400, "content must be text, or a list of parts that is not empty", param)
    found: list[str | Image.Image] = []
    for at, part in enumerate(content):
        place = f"{param}[{at}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            found.append(part["text"])
        elif kind == "image_url":
            left -= 1
            if left < 0:
                raise Fault(400, f"a request holds at most {settings.max_pictures} pictures", place)
            url = part.get("image_url")
            url = url.get("url") if isinstance(url, dict) else url
            found.append(picture(url, f"{place}.image_url", settings))
        elif kind in VIDEOS:
            raise Fault(400, "videos are not served here: send single frames as pictures (image_url)", place)
        else:
            raise Fault(
                400, "a part is {'type': 'text', 'text': ...} or {'type': 'image_url', 'image_url': ...}", place
            )
    return found


def picture(url: Any, param: str, settings: ServeSettings) -> Image.Image:
    """A picture of a request, within the server's limits. Raises `Fault`."""
    if not isinstance(url, str) or not url:
        raise Fault(400, "a picture is given as a data URL (data:image/png;base64,...)", param)
    return open_picture(
        url, param, hosts=settings.url_hosts, max_pixels=settings.max_pixels, max_bytes=settings.max_body
    )
