"""Batches for the joint phase: several captions and questions about one picture share its image tokens.

A row is a prefix with the picture (`<s> USER: <image> x 64`), followed by independent branches of a prompt and its
answer (`prompt ASSISTANT: answer </s>`). A branch attends to the shared prefix and to itself; its positions begin after
the prefix, so that it looks as if it were alone. What the tokens are is a `Wording`: here the words of the small model,
in `training.decoder` the pieces of a real tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lvlm_saliency.scenes import grammar
from lvlm_saliency.scenes.captions import write_caption
from lvlm_saliency.scenes.classes import COLOURS, PLURALS, SINGULAR
from lvlm_saliency.scenes.questions import CAPTION_PROMPTS, training_question
from lvlm_saliency.scenes.world import Scene
from training.build import BOS, EOS, IMAGE, IMAGE_TOKENS, PAD, UNK, vocabulary

_WORD = {word: number for number, word in enumerate(vocabulary())}
IGNORE = -100
WORD = re.compile(r"[A-Za-z]+|[.,?:]")


def _content(texts: Iterable[str]) -> set[str]:
    """The content words of these texts, in their spelling within a sentence."""
    return {word for text in texts for word in text.split()} - {"the", "of"}


_DECIDED = _content([*list(grammar.NUMBERS.values())[1:], *COLOURS, *PLURALS, *SINGULAR])
_PLACED = _content([*grammar.PLACES.values(), *grammar.RELATIONS])
_NAMES = _content(PLURALS)
_ENDS = {"top", "bottom"}
_UNKNOWN = "zzz"  # any word outside the vocabulary


class Wording(Protocol):
    """How a conversation about a picture becomes tokens.

    prefix: the ids up to the picture's end; pad: the id that fills rows up.
    """

    prefix: list[int]
    pad: int

    def ask(self, prompt: str) -> list[int]:
        """The ids from behind the picture up to where the answer begins."""

    def say(self, answer: str) -> list[int]:
        """The ids of an answer, its end included."""

    def weigh(self, answer: str, decided: float, placed: float) -> list[float]:
        """The loss weight of each id of `say`: see `word_weights`."""


class _Words:
    """Word by word, as the small model's tokenizer does it."""

    def __init__(self) -> None:
        self.prefix = [BOS, _WORD["USER:"], *[IMAGE] * IMAGE_TOKENS]
        self.pad = PAD

    def ask(self, prompt: str) -> list[int]:
        return [*encode(prompt), _WORD["ASSISTANT:"]]

    def say(self, answer: str) -> list[int]:
        return [*encode(answer), EOS]

    def weigh(self, answer: str, decided: float, placed: float) -> list[float]:
        return [*word_weights(WORD.findall(answer), decided, placed), 1.0]


WORDS = _Words()


@dataclass(frozen=True)
class Packed:
    """A packed batch, T the longest row.

    ids, positions, branch [B, T] int64 (branch 0 is the shared prefix, -1 padding); targets [B, T] int64: the id that
    follows within the answer, IGNORE elsewhere; weights [B, T] float32: the loss weight of each target. Branches 1 to
    `captions` are captions, the others questions.
    """

    ids: Tensor
    positions: Tensor
    branch: Tensor
    targets: Tensor
    weights: Tensor
    captions: int

    def mask(self, dtype: torch.dtype) -> Tensor:
        """The additive attention mask [B, 1, T, T]: the prefix and one's own branch, causally."""
        own = self.branch[:, :, None] == self.branch[:, None, :]
        shared = (self.branch == 0)[:, None, :]
        causal = torch.ones(self.ids.shape[1], self.ids.shape[1], dtype=torch.bool).tril()
        allowed = (own | shared) & causal
        mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill_(~allowed, torch.finfo(dtype).min)
        return mask[:, None]


def encode(text: str) -> list[int]:
    """Ids of well-formed text, as the tokenizer gives them (without the beginning-of-sequence token)."""
    return [_WORD.get(word, UNK) for word in WORD.findall(text)]


def pack(
    scenes: list[Scene],
    rng: np.random.Generator,
    captions: int = 2,
    length: int = 272,
    question_weight: float = 2.0,
    extra_where: float = 0.0,
    extra_beside: float = 0.0,
    doubt: float | None = None,
    decided_weight: float = 1.0,
    place_weight: float | None = None,
    wording: Wording = WORDS,
) -> Packed:
    """A batch with fresh wording for every scene: `captions` captions each, then questions until the row is full.

    Args:
        scenes: one per row.
        rng: draws the wording.
        captions: captions per scene.
        length: tokens of a row.
        question_weight: loss weight of an answer's words.
        extra_where, extra_beside: additional shares of questions about places, and about what lies beside an object.
        doubt: as in `training_question`.
        decided_weight: loss weight of a caption's words that depend on the picture (objects, places, relations,
            colours, numbers); words that are free choices have weight 1.
        place_weight: loss weight of places and relations; None: `decided_weight`.
        wording: what the tokens are.
    """
    weighing = (decided_weight, decided_weight if place_weight is None else place_weight)
    extra = (extra_where, extra_beside)
    rows = [_row(scene, rng, captions, length, question_weight, extra, doubt, weighing, wording) for scene in scenes]
    longest = max(len(row[0]) for row in rows)
    fills = (wording.pad, 0, -1, IGNORE, 0.0)
    columns = [
        np.array([column + [fill] * (longest - len(column)) for column in columns_of])
        for fill, columns_of in zip(fills, zip(*rows, strict=True), strict=True)
    ]
    ids, positions, branch, targets, weights = (torch.from_numpy(column) for column in columns)
    return Packed(ids, positions, branch, targets, weights.float(), captions)


def _row(
    scene: Scene,
    rng: np.random.Generator,
    captions: int,
    length: int,
    question_weight: float,
    extra: tuple[float, float],
    doubt: float | None,
    weighing: tuple[float, float],
    wording: Wording,
) -> tuple:
    shared = len(wording.prefix)
    ids, positions = list(wording.prefix), list(range(shared))
    branch, targets, weights = [0] * shared, [IGNORE] * shared, [0.0] * shared
    number = 0
    while True:
        number += 1
        if number <= captions:
            prompt, answer = CAPTION_PROMPTS[rng.integers(len(CAPTION_PROMPTS))], write_caption(scene, rng)
            said = wording.say(answer)
            weighted = wording.weigh(answer, *weighing)
        else:
            draw = rng.random() if any(extra) else 1.0
            kind = "where" if draw < extra[0] else "beside" if draw < sum(extra) else None
            prompt, answer = training_question(scene, rng, kind, doubt)
            said = wording.say(answer)
            weighted = [question_weight] * len(said)
        asked = wording.ask(_roughened(prompt, rng))
        if number > captions and len(ids) + len(asked) + len(said) > length:
            return ids, positions, branch, targets, weights
        ids += asked + said
        positions += range(shared, shared + len(asked) + len(said))
        branch += [number] * (len(asked) + len(said))
        targets += [IGNORE] * (len(asked) - 1) + said + [IGNORE]
        weights += [0.0] * (len(asked) - 1) + weighted + [0.0]


def word_weights(words: Sequence[str], decided: float, placed: float) -> list[float]:
    """The loss weight of each word of a caption: `placed`, `decided` or 1.

    A word after "top" and "bottom" has weight `placed` as well ("at the top" may end there), and so has a name after
    "the" (the other object of a relation). A word that begins a sentence has weight 1: it is a free choice of wording,
    and a larger weight would teach the model to prefer what was chosen. (With it, the model began every sentence with a
    place, before it had looked for an object.)
    """
    return [
        placed
        if word in _PLACED or before in _ENDS or (before == "the" and word in _NAMES)
        else decided
        if word in _DECIDED
        else 1.0
        for before, word in zip([None, *words[:-1]], words, strict=True)
    ]


def _roughened(prompt: str, rng: np.random.Generator) -> str:
    """A prompt as people type it: some in lower case, some without the last full stop, some with an extra word."""
    draw = rng.random()
    if draw < 0.08:
        return prompt.lower()
    if draw < 0.12:
        return prompt.rstrip(".?")
    if draw < 0.16:
        return f"{prompt} {_UNKNOWN}"
    return prompt
