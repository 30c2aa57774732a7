"""An explanation as a file: one safetensors file with its trace, its pictures, and everything else as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lvlm_saliency.chat.explanation import WordRisk
from lvlm_saliency.errors import InputError
from lvlm_saliency.files import parse_json
from lvlm_saliency.files.kinds import is_number, is_number_or_nan, is_share, is_whole
from lvlm_saliency.files.tensors import check_seal, read_tensors
from lvlm_saliency.model.layout import ImageLayout, ImageTile, VideoLayout, VideoStep
from lvlm_saliency.model.layout.tiles import KINDS
from lvlm_saliency.model.output import TokenRecord
from lvlm_saliency.model.video import Video
from lvlm_saliency.tracing import saved as saved_traces
from lvlm_saliency.tracing.result import SaliencyTrace
from lvlm_saliency.tracing.words import Context

if TYPE_CHECKING:
    from lvlm_saliency.chat.explanation import Explanation

FORMAT = 1
KEY = "lvlm_saliency_explanation"
TEXTS = ("name", "prompt", "text")
TRACE, PICTURE, LAYOUT = "trace.", "picture.", "layout."
VIDEO, FILM = "video.", "film."


def write(path: str | os.PathLike[str], explanation: Explanation, form: str | None = None) -> None:
    """Write an explanation atomically, with a digest. Raises `InputError`, `SettingError`."""
    trace, about = saved_traces.written(explanation.trace, form)
    arrays = {TRACE + name: values for name, values in trace.items()}
    for number, image in enumerate(explanation.images):
        arrays[f"{PICTURE}{number}"] = np.asarray(image.convert("RGB"))
    tiles = [_laid(arrays, f"{LAYOUT}{number}", layout) for number, layout in enumerate(explanation.layouts)]
    films = []
    for number, video in enumerate(explanation.videos):
        arrays[f"{VIDEO}{number}"] = np.stack([np.asarray(frame.convert("RGB")) for frame in video.frames])
        about_video = {"indices": list(video.indices), "rate": video.rate, "total": video.total, "timed": video.timed}
        films.append({**about_video, "steps": None})
    for number, film in enumerate(explanation.films):
        arrays[f"{FILM}{number}.extra"] = np.asarray(film.extra, dtype=np.int64)
        films[number]["steps"] = [
            {"frames": list(step.frames), "layout": _laid(arrays, f"{FILM}{number}.{at}", step.layout)}
            for at, step in enumerate(film.steps)
        ]
    risk = explanation.risk
    told = {
        "format": FORMAT,
        "trace": about,
        **{name: getattr(explanation, name) for name in (*TEXTS, "finish")},
        "tokens": list(explanation.tokens),
        "pictures": len(explanation.images),
        "layouts": tiles,
        **({"videos": films} if films else {}),
        "context": [[item.position, item.text, item.region] for item in explanation.context],
        "steps": None if explanation.steps is None else [dataclasses.asdict(step) for step in explanation.steps],
        "candidates": {str(token): text for token, text in explanation.candidates.items()},
        "risk": None if risk is None else dataclasses.asdict(risk),
        "detectors": {name: list(values) for name, values in explanation.detectors.items()},
    }
    saved_traces.write_sealed(path, arrays, {KEY: json.dumps(told)})


def _laid(arrays: dict[str, np.ndarray], name: str, layout: ImageLayout) -> dict[str, Any]:
    """A layout as plain data, its positions among the arrays."""
    arrays[f"{name}.extra"] = np.asarray(layout.extra, dtype=np.int64)
    for at, tile in enumerate(layout.tiles):
        arrays[f"{name}.{at}"] = np.asarray(tile.positions, dtype=np.int64)
    boxes = [{"kind": tile.kind, "box": list(map(float, tile.box))} for tile in layout.tiles]
    return {"width": layout.width, "height": layout.height, "tiles": boxes}


def read(path: str | Path) -> dict[str, Any]:
    """The fields of an explanation, by name.

    Raises:
        InputError: the file is missing, damaged, or no saved explanation.
    """
    arrays, metadata = read_tensors(path, "an explanation")
    if KEY not in metadata:
        raise InputError(f"{path} is no saved explanation (a trace alone is read by SaliencyTrace.load)")
    try:
        told = parse_json(metadata[KEY], finite=False)
        written = told["format"]
        found = _fields(path, arrays, told) if written == FORMAT else None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: {error!r}; make it again") from error
    if found is None:
        raise InputError(f"{path} is an explanation of format {written}, and this version reads {FORMAT}")
    check_seal(path, arrays, metadata)
    return found


def _fields(path: str | Path, arrays: Mapping[str, np.ndarray], told: dict[str, Any]) -> dict[str, Any]:
    own = {name.removeprefix(TRACE): values for name, values in arrays.items() if name.startswith(TRACE)}
    trace = SaliencyTrace(**saved_traces.fields_of(path, own, told["trace"]))
    tokens, length = _texts(told["tokens"]), int(trace.valid[0].sum())
    if len(trace.sequences) != 1 or len(tokens) != length:
        raise ValueError(f"{len(tokens)} tokens, and a trace of {length}")
    _check(told["finish"] in (None, "stop", "length"), "its end is none that a text has")
    _check(is_whole(told["pictures"]) and len(told["layouts"]) <= told["pictures"], "more layouts than pictures")
    steps = None if told["steps"] is None else [_step(step) for step in told["steps"]]
    _check(steps is None or len(steps) == length, f"not one step for each of {length} tokens")
    filmed = list(enumerate(told.get("videos", [])))
    videos = [_video(arrays[f"{VIDEO}{number}"], video) for number, video in filmed]
    found = {
        **dict(zip(TEXTS, _texts([told[name] for name in TEXTS]), strict=True)),
        "finish": told["finish"],
        "tokens": tokens,
        "trace": trace,
        "images": [_picture(arrays[f"{PICTURE}{number}"]) for number in range(told["pictures"])],
        "layouts": [_layout(arrays, f"{LAYOUT}{n}", layout, trace) for n, layout in enumerate(told["layouts"])],
        "videos": videos,
        "films": [_film(arrays, n, video, videos[n], trace) for n, video in filmed if video["steps"] is not None],
        "context": [_context(item, trace) for item in told["context"]],
        "steps": steps,
        "candidates": dict(zip(map(_id, told["candidates"]), _texts(list(told["candidates"].values())), strict=True)),
        "risk": None if told["risk"] is None else _risk(told["risk"], length),
        "detectors": {name: _numbers(values, length) for name, values in told["detectors"].items()},
    }
    named = {TRACE + name for name in own} | {f"{PICTURE}{number}" for number in range(told["pictures"])}
    for number, layout in enumerate(found["layouts"]):
        named |= _arrays_of(f"{LAYOUT}{number}", layout)
    for number, film in enumerate(found["films"]):
        named |= {f"{FILM}{number}.extra"}
        named |= {
            name for at, step in enumerate(film.steps) for name in _arrays_of(f"{FILM}{number}.{at}", step.layout)
        }
    named |= {f"{VIDEO}{number}" for number in range(len(videos))}
    _check(set(arrays) == named, f"arrays that belong to nothing: {sorted(set(arrays) - named)[:3]}")
    return found


def _arrays_of(name: str, layout: ImageLayout) -> set[str]:
    return {f"{name}.{at}" for at in (*range(len(layout.tiles)), "extra")}


def _check(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)


def _texts(values: Any) -> list[str]:
    _check(isinstance(values, list) and all(isinstance(value, str) for value in values), "its texts are no texts")
    return values


def _numbers(values: Any, length: int) -> list[float]:
    whole = isinstance(values, list) and len(values) == length and all(map(is_number_or_nan, values))
    _check(whole, f"not one number for each of {length} tokens")
    return [float(value) for value in values]


def _id(text: str) -> int:
    """A token id, which JSON has as the name of an entry."""
    _check(text.isascii() and text.isdigit(), "a candidate is no token")
    return int(text)


def _picture(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"a picture is {list(pixels.shape)} of {pixels.dtype}")
    return Image.fromarray(pixels)


def _context(told: Any, trace: SaliencyTrace) -> Context:
    at, text, region = told
    _check(is_whole(at) and at < trace.prompt_length, "its context stands outside of the prompt")
    _check(isinstance(text, str) and region in ("system", "prompt"), "its context is no text of the prompt")
    return Context(at, text, region)


def _video(sheets: np.ndarray, told: Mapping[str, Any]) -> Video:
    _check(sheets.ndim == 4, f"a video is {list(sheets.shape)}")
    indices, rate, total = told["indices"], told["rate"], told["total"]
    known = isinstance(indices, list) and all(map(is_whole, indices)) and is_whole(total) and is_number(rate)
    _check(known and isinstance(told["timed"], bool), "a video's frames have no numbers or no rate")
    return Video([_picture(sheet) for sheet in sheets], indices, rate, total, told["timed"])


def _film(
    arrays: Mapping[str, np.ndarray], number: int, told: Mapping[str, Any], video: Video, trace: SaliencyTrace
) -> VideoLayout:
    steps = []
    for at, step in enumerate(told["steps"]):
        frames, known = tuple(step["frames"]), range(len(video.frames))
        _check(bool(frames) and all(is_whole(frame) and frame in known for frame in frames), "a step shows no frame")
        layout = _layout(arrays, f"{FILM}{number}.{at}", step["layout"], trace)
        steps.append(VideoStep(frames, tuple(video.times[frame] for frame in frames), layout))
    extra = arrays[f"{FILM}{number}.extra"]
    _check_places(extra, trace)
    return VideoLayout(*video.size, tuple(steps), extra)


def _layout(arrays: Mapping[str, np.ndarray], name: str, told: Mapping[str, Any], trace: SaliencyTrace) -> ImageLayout:
    tiles = []
    for at, tile in enumerate(told["tiles"]):
        left, top, right, bottom = tile["box"]
        _check(all(map(is_number, tile["box"])) and left < right and top < bottom, "a grid's box is none")
        _check(tile["kind"] in KINDS, "a grid is of no kind")
        box = float(left), float(top), float(right), float(bottom)
        tiles.append(ImageTile(arrays[f"{name}.{at}"], box, tile["kind"]))
    width, height = told["width"], told["height"]
    _check(is_whole(width) and is_whole(height) and min(width, height) > 0, "a layout's picture has no size")
    layout = ImageLayout(width, height, tuple(tiles), arrays[f"{name}.extra"])
    if any(tile.positions.ndim != 2 for tile in tiles):
        raise ValueError("a layout is no grid of positions")
    _check_places(layout.positions, trace)
    return layout


def _check_places(places: np.ndarray, trace: SaliencyTrace) -> None:
    if places.dtype != np.int64:
        raise ValueError("a layout is no grid of positions")
    if places.size and not 0 <= places.min() <= places.max() < trace.prompt_length:
        raise ValueError("a layout lies outside the prompt")


def _step(told: Mapping[str, Any]) -> TokenRecord:
    step = TokenRecord(**{**told, "candidates": {_id(token): score for token, score in told["candidates"].items()}})
    known = all(map(is_whole, (step.token_id, step.draws, step.rollbacks)))
    known = known and isinstance(step.rejected, list) and all(map(is_whole, step.rejected))
    scores = (step.score, step.threshold, *step.candidates.values())
    known = known and all(score is None or is_number_or_nan(score) for score in scores)
    _check(known and isinstance(step.fallback, bool), "a step holds what no step has")
    return step


def _risk(told: Mapping[str, Any], length: int) -> WordRisk:
    if len(told["objects"]) != length or not all(isinstance(known, bool) for known in told["objects"]):
        raise ValueError(f"not one mark for each of {length} tokens")
    values = _numbers(told["values"], length)
    _check(all(is_share(value) for value in values if value == value), "a risk lies outside 0 to 1")
    return WordRisk(values, list(told["objects"]), dict(told["about"]))
