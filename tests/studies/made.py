"""Texts and tables with a known answer, made up without any model."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lvlm_saliency.studies.texts import LabelledText, Span
from lvlm_saliency.studies.tokens import REGIONS, TokenTable

FILLER = 4
"""Tokens of each made-up text before each of its object words."""


def table(
    random: np.random.Generator,
    pictures: int = 100,
    words: int = 5,
    wrong: float = 0.2,
    effect: float = 0.0,
    measure: str = "saliency",
    late: bool = False,
) -> TokenTable:
    """Texts of `words` object words each. Hallucinated ones have scores of `measure` lower by `effect` standard
    deviations in every region; with `late`, it is later words that have lower scores, and later words that are wrong,
    and nothing else."""
    texts, hallucinated = [], []
    length = words * (FILLER + 1)
    for picture in range(pictures):
        chance = np.linspace(0, 2 * wrong, words) if late else np.full(words, wrong)
        labels = random.random(words) < chance
        pieces = [" dog" if t % (FILLER + 1) == FILLER else " the" for t in range(length)]
        spans = []
        for word, label in enumerate(labels.tolist()):
            start = sum(map(len, pieces[: word * (FILLER + 1) + FILLER])) + 1
            spans.append(Span(start, start + 3, label, f"thing {word}", True))
        texts.append(
            LabelledText(
                image=f"{picture}.png",
                prompt="Describe it.",
                text="".join(pieces),
                token_ids=tuple(range(length)),
                pieces=tuple(pieces),
                spans=tuple(spans),
                picture=lambda: Image.new("RGB", (8, 8)),
            )
        )
        hallucinated.append(labels)
    opens = np.tile(np.arange(length) % (FILLER + 1) == FILLER, pictures)
    span = np.where(opens, np.tile(np.arange(length) // (FILLER + 1), pictures), -1)
    low = np.zeros(len(opens))
    low[opens] = np.concatenate(hallucinated)
    if late:
        low = np.where(opens, np.tile(np.arange(length) / length, pictures), 0) * 4
    shape = (len(opens), 2, len(REGIONS))
    arrays = {name: random.normal(size=shape) for name in ("saliency", "attention")}
    arrays[measure] = arrays[measure] - effect * low[:, None, None] * np.sqrt(1 / 2)  # the mean of two layers
    return TokenTable(
        layers=[0, 1],
        texts=texts,
        text=np.repeat(np.arange(pictures), length),
        position=np.tile(np.arange(length), pictures),
        token_id=np.tile(np.arange(length) % (FILLER + 1), pictures),
        logprob=-random.exponential(size=len(opens)),
        entropy=random.exponential(size=len(opens)),
        **arrays,
        span=span,
        opens=opens,
    )
