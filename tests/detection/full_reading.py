"""A small reading with random tensors, and scores by name."""

from __future__ import annotations

import numpy as np

import lvlm_saliency as ls
from detection.made import attention, lens, text
from lvlm_saliency.detection.mention import Mention

WORD = Mention(1, 3, "dog", "dog")


VOCABULARY = 120


def full(seed=0, depth=4, count=4, image=slice(1, 5), heads=2, prompt=6):
    """A text with random figures of every kind."""
    random = np.random.default_rng(seed)
    reading = text(prompt, depth=depth, count=count, image=image)
    reading.attention = attention(reading, heads, seed)
    head = random.normal(size=(VOCABULARY, 8))
    reading.text = {i: random.normal(size=(count + 1, 8)) for i in range(depth + 1)}
    reading.image_states = {i: random.normal(size=(len(reading.image), 8)) for i in range(depth + 1)}
    behind = reading.prompt - 1 - int(reading.image.max(initial=-1))
    reading.prompt_states = {i: random.normal(size=(behind, 8)) for i in range(depth + 1)}
    ids = reading.answer
    for factor in (1.0, 0.1):
        for i in range(depth + 1):
            reading.image_lens[i, factor] = lens(factor * reading.image_states[i] @ head.T, ids)
            reading.prompt_lens[i, factor] = lens(factor * reading.prompt_states[i] @ head.T, ids)
    reading.logprob, reading.entropy = -random.random(count) - 0.1, random.random(count)
    reading.margin = random.normal(size=count)
    reading.surprise = random.random((count + 1, 3))
    reading.text_top = random.integers(0, 5, (count + 1, depth))
    reading.text_entropy = random.random((count + 1, depth))
    reading.chain = {layer: random.random((heads, 2, count + 1)) for layer in range(depth)}
    reading.unembedding = {int(i): head[i] for i in ids}
    reading.embedding = {int(i): random.normal(size=8) for i in ids}
    reading.tiles = [np.arange(len(reading.image)).reshape(2, -1)] if len(reading.image) % 2 == 0 else None
    reading.extra = {
        "self-check": {"dog": 1.5},
        "lpfv": {"dog": -2.5},
        "blank picture": {"log_ratio": random.normal(size=count), "divergence": random.random(count)},
    }
    reading.scores = {name: random.normal(size=count) for name in ("output", "previous", "image", "risk")}
    reading.trace = object()
    return reading


def made(name, **settings):
    return ls.detector(name, **({"tau": 1.0} if name == "viser" else {}), **settings)
