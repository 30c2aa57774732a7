"""Traces made up for the faces' tests, and pages of them: the real classes filled with chosen numbers, no model."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from lvlm_saliency.model.layout import ImageLayout, ImageTile
from lvlm_saliency.model.regions import Regions
from lvlm_saliency.report.content import Case, Report, run_of
from lvlm_saliency.report.html import write_html
from lvlm_saliency.tracing.result import SaliencyTrace

_SENTENCES = (
    "There is a kitchen with a red cup on the table . To the left of the cup stands a blue lamp , and a small "
    "yellow cat sleeps under the chair . A green plant is near the window , and a clock hangs above the door ."
)
CAPTION = _SENTENCES.split()
_REQUEST = "Describe the picture in detail ."
PROMPT = _REQUEST.split()
SIDE = 8


class Words:
    """A tokenizer of whole words, with the one method that the faces call."""

    def __init__(self, words):
        self.words = list(words)

    def decode(self, ids, **_):
        return " ".join(self.words[token] for token in ids)


def fabricated(words=None, layers=4, seed=0, batch=1, side=SIDE, start=1):
    """(trace, tokenizer) of `words`: system (`start`), image (`side`^2), prompt, output; rows have unit length."""
    words = CAPTION if words is None else list(words)
    image, count = side * side, len(words)
    vocabulary = ["<s>"] * start + ["<image>"] * image + PROMPT + words
    prompt_length = start + image + len(PROMPT)
    total = prompt_length + count
    rng = np.random.default_rng(seed)
    rows = rng.gamma(0.3, 1.0, (batch, layers, count, total - 1)).astype(np.float32)
    rows[..., :start] *= 12
    for t in range(count):
        query = prompt_length + t - 1
        distance = query - np.arange(prompt_length, query + 1)
        rows[:, :, t, prompt_length : query + 1] *= 6 * np.exp(-distance / 4) + 0.2
        centre = rng.integers(0, max(side, 1), 2)
        y, x = np.mgrid[:side, :side]
        rows[:, :, t, start : start + image] *= (
            np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 3).ravel() + 0.03
        )
        rows[:, :, t, query + 1 :] = 0
    attention = rows**0.8
    position = torch.arange(total)
    inside = lambda first, end: ((position >= first) & (position < end)).expand(batch, -1).clone()  # noqa: E731
    trace = SaliencyTrace(
        rows=torch.from_numpy(rows / np.linalg.norm(rows, axis=-1, keepdims=True)),
        attention=torch.from_numpy(attention / attention.sum(-1, keepdims=True)),
        layers=list(range(layers)),
        regions=Regions(
            system=inside(0, start),
            image=inside(start, start + image),
            prompt=inside(start + image, prompt_length),
            output=inside(prompt_length, total),
        ),
        sequences=position.expand(batch, -1).clone(),
        prompt_length=prompt_length,
        valid=torch.ones(batch, count, dtype=torch.bool),
        logprobs=torch.from_numpy(-rng.exponential(0.4, (batch, count)).astype(np.float32)),
        entropy=torch.from_numpy(rng.exponential(0.8, (batch, count)).astype(np.float32)),
        settings={"model": "fabricated", "normalise": "row"},
    )
    return trace, Words(vocabulary)


def layout(width=64, height=64, side=SIDE, first=1):
    """One picture as one grid of cells."""
    positions = np.arange(first, first + side * side).reshape(side, side)
    tile = ImageTile(positions=positions, box=(0.0, 0.0, float(width), float(height)), kind="full")
    return ImageLayout(width=width, height=height, tiles=(tile,), extra=np.array([], dtype=np.int64))


def picture(width=64, height=64):
    """A drawing with a few flat colours."""
    image = Image.new("RGB", (width, height), (222, 214, 200))
    image.paste((120, 150, 190), (0, 0, width, height // 3))
    image.paste((200, 60, 50), (width // 8, height // 2, width // 3, height * 3 // 4))
    image.paste((60, 130, 80), (width * 5 // 8, height // 2, width * 7 // 8, height * 7 // 8))
    return image


def page(path, traces, words, **options):
    runs = [run_of(trace, words, name=f"run {at}", layouts=[layout()], **options) for at, trace in enumerate(traces)]
    return write_html(path, Report("A page", [Case("A picture", runs, images=[picture()])]))
