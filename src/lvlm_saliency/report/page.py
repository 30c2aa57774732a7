"""The data of an HTML page: every run of a report as JSON values, with compressed rows."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lvlm_saliency.model.cut_off import CUT, LEGEND
from lvlm_saliency.model.video import stamp

from .chips import chips, shown
from .colours import palettes
from .content import Case, Report, Run
from .falls import ALPHA, WINDOW
from .pack import ROW_BUDGET, layer_groups, pack_floats, pack_rows

REGIONS = ("output", "previous", "image", "prompt", "prompt+output")
PARTS = ("thinking", "answer")
"""Regions that only texts of models with thinking have."""
VIDEO = "video"
"""A region of its own on pages with pictures as well; elsewhere "image" is the video."""
SMALL_PICTURE = 200
LARGEST_SIDE = 1024
FRAME_SIDE, FRAME_PIXELS = 480, 3_000_000
"""The longest side of a frame, and the pixels that all frames of a video may have together."""


def regions_of(thinks: bool) -> list[str]:
    """The regions that a page offers. thinks: whether some of its texts are known to think before they answer."""
    return [*REGIONS, *(PARTS if thinks else ())]


def page_data(report: Report, budget: int = ROW_BUDGET) -> dict[str, Any]:
    """The data of the whole page. `budget`: bytes of rows for the whole page before base64 (see `pack`)."""
    every = [run for case in report.cases for run in case.runs]
    runs = len(every)
    filmed, pictured = any(case.videos for case in report.cases), any(case.images for case in report.cases)
    regions = regions_of(any(run.trace.parts is not None for run in every)) + ([VIDEO] if filmed and pictured else [])
    return {
        "regions": regions,
        "seen": "pictures and video" if filmed and pictured else "video" if filmed else "picture",
        "palettes": palettes(),
        "cut": {"mark": CUT, "legend": LEGEND},
        "alpha": ALPHA,
        "window": WINDOW,
        "cases": [case_data(case, budget // max(runs, 1), regions) for case in report.cases],
    }


def case_data(case: Case, budget: int, regions: Sequence[str] = REGIONS) -> dict[str, Any]:
    """The data of a section of a page. `budget`: bytes of rows for each of its texts, before base64; `regions`: those
    of the page."""
    return {
        "title": case.title,
        "prompt": case.prompt,
        "note": case.note,
        "images": [_picture(image) for image in case.images],
        "videos": [_video(video) for video in case.videos],
        "runs": [_run(run, regions, budget) for run in case.runs],
    }


def _run(run: Run, regions: Sequence[str], budget: int) -> dict[str, Any]:
    trace, length = run.trace, run.length
    keys = trace.prompt_length + length - 1 if length else 0
    layers = [] if trace.layer_mean else list(trace.layers)  # from the mean of the layers, none can be shown alone
    groups = layer_groups(len(layers), 2 * length * keys, budget)
    return {
        "name": run.name,
        "note": run.note,
        "start": trace.prompt_length,
        "keys": keys,
        "tokens": list(run.tokens),
        "chips": [[chip.first, chip.end, chip.text, shown(chip.text)] for chip in chips(run.tokens)],
        "views": ["mean of all", *(_group_name([layers[i] for i in group]) for group in groups)],
        "layers": layers,
        "packed": {
            "scores": _scores(run, regions, [trace.layers, *([layers[i] for i in group] for group in groups)]),
            "saliency": pack_rows(trace.rows[run.sample, :, :length, :keys].numpy(), groups),
            "attention": pack_rows(trace.attention[run.sample, :, :length, :keys].numpy(), groups),
        },
        "logprobs": _numbers(trace.logprobs[run.sample, :length]),
        "entropy": _numbers(trace.entropy[run.sample, :length]),
        "cut": run.cut,
        "risk": None if run.risk is None else [_number(value) for value in run.risk],
        "detectors": [[name, [_number(value) for value in values]] for name, values in run.detectors.items()],
        "guard": [_taken_back(event, run) for event in run.guard if event.tries],
        "marks": [[mark.start, mark.end, mark.kind] for mark in run.marks],
        "context": [[item.position, item.text, item.region] for item in run.context],
        "spans": _spans(run),
        "parts": [list(part) for part in trace.parts[run.sample]] if trace.parts is not None else [],
        "pictures": [_tiles(layout) for layout in run.layouts],
        "films": [
            [{"frames": list(step.frames), "tiles": _tiles(step.layout)} for step in film.steps] for film in run.films
        ],
        "seen": _seen(run),
        "steps": None if run.steps is None else [_step(step, run) for step in run.steps[:length]],
    }


def _taken_back(event: Any, run: Run) -> dict[str, Any]:
    """A sentence that a guard rolled back: its text at each attempt, and what replaced it."""
    now = "" if event.span is None else "".join(run.tokens[slice(*event.span)]).strip()
    tries = [[one.text, one.word, _number(one.risk), one.why] for one in event.tries]
    return {"action": event.action, "now": now, "span": event.span, "tries": tries}


def _group_name(layers: Sequence[int]) -> str:
    return str(layers[0]) if len(layers) == 1 else f"{layers[0]}\u2013{layers[-1]}"


def _scores(run: Run, regions: Sequence[str], views: Sequence[Sequence[int]]) -> str:
    """Float32 [2 measures, regions, views, T], saliency first; NaN for a region that this text does not have."""
    known, none = run.trace.region_names, np.full(run.length, np.nan, dtype=np.float32)

    def values_of(score: Any, region: str, layers: Sequence[int]) -> np.ndarray:
        return score(region, list(layers))[run.sample, : run.length].numpy() if region in known else none

    values = [
        [[values_of(score, region, layers) for layers in views] for region in regions]
        for score in (run.trace.scores, run.trace.attention_scores)
    ]
    return pack_floats(np.asarray(values, dtype=np.float32))


def _spans(run: Run) -> list[list[Any]]:
    """[first, end, region] for every stretch of positions of one region."""
    regions = run.trace.regions
    spans: list[list[Any]] = []
    for region in ("system", "image", "prompt", "output"):
        inside = np.concatenate([[0], getattr(regions, region)[run.sample].numpy().astype(np.int8), [0]])
        edges = np.flatnonzero(np.diff(inside))
        spans += [[int(first), int(end), region] for first, end in zip(edges[::2], edges[1::2], strict=True)]
    return sorted(spans)


def _seen(run: Run) -> dict[int, str]:
    """What each stretch of the prompt that is no text shows, by its first position; pictures are left out."""
    steps = [(set(step.layout.positions.tolist()), step) for film in run.films for step in film.steps]
    found = {}
    for first, end, region in _spans(run) if steps else ():
        seen = [step for positions, step in steps if not positions.isdisjoint(range(first, end))]
        if region == "image" and seen:
            times = ", ".join(stamp(time) for time in seen[0].times)
            found[first] = "video" if len(seen) > 1 else f"frame{'s' * (len(seen[0].frames) > 1)} {times}"
    return found


def _video(video: Any) -> dict[str, Any]:
    """The frames as pictures, with the times at which they were shown."""
    share = (FRAME_PIXELS / max(len(video.frames) * video.size[0] * video.size[1], 1)) ** 0.5
    side = min(FRAME_SIDE, max(32, int(max(video.size) * share)))
    return {
        "frames": [_picture(frame, side) for frame in video.frames],
        "times": [stamp(time) for time in video.times],
        "length": stamp(video.duration),
        "timed": video.timed,
    }


def _tiles(layout: Any) -> list[dict[str, Any]]:
    return [
        {
            "kind": tile.kind,
            "box": [round(float(edge), 2) for edge in tile.box],
            "rows": int(tile.positions.shape[0]),
            "columns": int(tile.positions.shape[1]),
            "positions": tile.positions.ravel().tolist(),
        }
        for tile in layout.tiles
    ]


def _step(step: Any, run: Run) -> dict[str, Any]:
    return {
        "score": _number(step.score),
        "threshold": _number(step.threshold),
        "draws": int(step.draws),
        "fallback": bool(step.fallback),
        "rejected": [int(token) for token in step.rejected],
        "token": int(step.token_id),
        "candidates": [
            [int(token), run.candidate_names.get(int(token), f"\u27e8{token}\u27e9"), _number(score)]
            for token, score in (step.candidates or {}).items()
        ],
    }


def _number(value: float | None) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if value is None or not math.isfinite(value) else float(f"{float(value):.6g}")


def _numbers(values: Any) -> list[float | None]:
    return [_number(value) for value in values.tolist()]


def _picture(image: Any, largest: int = LARGEST_SIDE) -> dict[str, Any]:
    """A data URI: small drawings as PNG, photographs of at most `largest` pixels a side as whichever is smaller."""
    shown = image.convert("RGB")
    shown.thumbnail((largest, largest))
    files = {"png": io.BytesIO(), "jpeg": io.BytesIO()}
    shown.save(files["png"], "PNG", optimize=True)
    shown.save(files["jpeg"], "JPEG", quality=88)
    small = max(shown.size) <= SMALL_PICTURE
    kind = "png" if small else min(files, key=lambda name: files[name].tell())
    return {
        "src": f"data:image/{kind};base64,{base64.b64encode(files[kind].getvalue()).decode('ascii')}",
        "width": image.width,
        "height": image.height,
        "small": small,
    }
