"""The base class of detectors: what is captured for them, and how the scores of a word's tokens become the word's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lvlm_saliency.errors import SettingError, did_you_mean

if TYPE_CHECKING:
    from lvlm_saliency.detection.mention import Mention
    from lvlm_saliency.detection.reading import Reading
    from lvlm_saliency.tracing.result import SaliencyTrace

WHERE = ("P", "A")
"""P: the state that predicts a token (known when the token is drawn); A: the state at the token (one step later)."""
SUBTOKENS = ("first", "last", "mean", "max", "min")
"""How the risks of a word's tokens become the word's."""
PATCHES, LAYERS = 576, 32
"""LLaVA-1.5-7B, on which the papers state their layers and numbers of patches."""
PASSES = {
    "self-check": "a question about each object",
    "lpfv": "one question about the picture",
    "blank picture": "the text read with a blank picture",
    "words": "the tokenizer",
}
"""Descriptions of `Needs.extra`."""


@dataclass(frozen=True)
class Depth:
    """The layers of a language model.

    Attributes:
        count: number of layers.
        attention: numbers of the layers with softmax attention.
    """

    count: int
    attention: tuple[int, ...]

    @classmethod
    def of(cls, count: int) -> Depth:
        """A model whose layers all have attention."""
        return cls(count, tuple(range(count)))

    def layer(self, number: int) -> int:
        """Layer `number` of 32, scaled: the layer with attention that is nearest to number x L / 32."""
        wanted = int(number * self.count / LAYERS + 0.5)
        return min(self.attention, key=lambda layer: (abs(layer - wanted), layer))

    def layers(self, first: int, last: int) -> tuple[int, ...]:
        """The layers with attention from `first` to `last` of 32, both included, scaled; the nearest where there is
        none between."""
        low, high = (int(number * self.count / LAYERS + 0.5) for number in (first, last))
        inside = tuple(layer for layer in self.attention if low <= layer <= high)
        return inside or (self.layer(first),)

    def middle(self) -> tuple[int, ...]:
        """The layers with attention in [int(.25 L), int(.75 L))."""
        low, high = int(0.25 * self.count), int(0.75 * self.count)
        inside = tuple(layer for layer in self.attention if low <= layer < high)
        return inside or (self.layer(LAYERS // 2),)

    def hidden(self, number: int) -> int:
        """Hidden state `number` of 32 (0: embeddings, 32: after the final norm), scaled."""
        return self.count if number >= LAYERS else int(number * self.count / LAYERS + 0.5)


NOMINAL = Depth.of(LAYERS)


def patches(number: int, count: int) -> int:
    """`number` of 576 patches, scaled to `count` of them; 1 at least."""
    return max(1, min(count, int(number * count / PATCHES + 0.5)))


@dataclass(frozen=True)
class Needs:
    """What is to be captured of one text. Layers are decoder layer numbers; states are indices of hidden states.

    Attributes:
        logits: log-probability, entropy and margin of each token.
        attention: layers whose attention rows are kept, at the rows P and A of the mentions.
        heads: whether these are needed head by head, and not as their mean.
        chain: layers whose attention from each generated token to itself and to the one before is kept.
        text: hidden states at the rows P and A of the mentions, and at the last prompt token.
        image: hidden states at the picture's tokens.
        image_lens: hidden states of the picture's tokens whose lens is kept, each with the factor on its logits.
        prompt: hidden states of the prompt's tokens after the picture; prompt_lens: as image_lens, of these tokens.
        text_lens: whether top-1 token and entropy of every layer's lens are kept at the rows P and A.
        unembedding, embeddings: rows of the output and of the input embedding, of the answer's tokens.
        gradient: a saliency trace (a backward pass).
        tiles: where the picture's tokens lie in it.
        extra: further passes, by name.
    """

    logits: bool = False
    attention: frozenset[int] = frozenset()
    heads: bool = False
    chain: frozenset[int] = frozenset()
    text: frozenset[int] = frozenset()
    image: frozenset[int] = frozenset()
    image_lens: frozenset[tuple[int, float]] = frozenset()
    prompt: frozenset[int] = frozenset()
    prompt_lens: frozenset[tuple[int, float]] = frozenset()
    text_lens: bool = False
    unembedding: bool = False
    embeddings: bool = False
    gradient: bool = False
    tiles: bool = False
    extra: frozenset[str] = frozenset()

    def __or__(self, other: Needs) -> Needs:
        return Needs(**{f.name: getattr(self, f.name) | getattr(other, f.name) for f in dataclasses.fields(Needs)})

    @property
    def kinds(self) -> list[str]:
        """Descriptions of what is needed."""
        told = (
            ("logits", self.logits),
            ("attention per head" if self.heads else "attention", bool(self.attention) or bool(self.chain)),
            ("hidden states of the text", bool(self.text)),
            ("hidden states of the picture", bool(self.image)),
            ("hidden states of the prompt", bool(self.prompt)),
            ("the lens", bool(self.image_lens) or bool(self.prompt_lens) or self.text_lens),
            ("unembedding", self.unembedding),
            ("input embeddings", self.embeddings),
            ("the picture's grid", self.tiles),
            ("gradients", self.gradient),
            *((PASSES.get(name, name), True) for name in sorted(self.extra)),
        )
        return [name for name, wanted in told if wanted]


@dataclass(frozen=True)
class Detector:
    """A published score of a word: higher means more likely hallucinated.

    Class attributes: `name`; `title`; `paper`; `passes`: a description of the forward passes beside the one over prompt
    and answer; `fit`: "none", "scale", "calibrated" (class means), "trained"; `granularity`: "token" (each token has a
    score), "word", "object" (all mentions of an object share it); `causal`: whether the score of a word is known as
    soon as the word is finished and does not depend on what follows; `ships`: the model that it ships fitted for.

    Args:
        where: "P" or "A" (`WHERE`); the same for every detector that reads states or attention.
        subtokens: how the risks of a word's tokens become the word's (`SUBTOKENS`).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    passes: ClassVar[str] = "none"
    extra_passes: ClassVar[int] = 0
    fit: ClassVar[str] = "none"
    granularity: ClassVar[str] = "token"
    causal: ClassVar[bool] = True
    ships: ClassVar[str] = ""
    places: ClassVar[tuple[str, ...]] = WHERE
    """The values of `where` that it has: scores of logits have no A."""

    where: str = field(default="P", kw_only=True)
    subtokens: str = field(default="first", kw_only=True)

    def __post_init__(self) -> None:
        for setting, known in (("where", self.places), ("subtokens", SUBTOKENS)):
            self.check(setting, known)

    def check(self, setting: str, known: Sequence[str]) -> None:
        """Refuse a setting that is none of these.

        Raises:
            SettingError: naming those that there are.
        """
        value = getattr(self, setting)
        if value not in known:
            hint = did_you_mean(str(value), known)
            raise SettingError(f"{self.name}: {setting}={value!r} must be one of {', '.join(known)}{hint}")

    def needs(self, depth: Depth) -> Needs:
        """What is to be captured for it, on a model of this depth."""
        raise NotImplementedError

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        """The risk of one token of the answer, NaN where it is undefined."""
        raise NotImplementedError

    def score(self, source: Reading | SaliencyTrace, mention: Mention) -> float:
        """The risk of a word.

        Args:
            source: what was captured of the text; or a saliency trace, for detectors that need no more than log
                p, entropy, head-averaged attention or saliency.
            mention: the word.

        Returns:
            float64; NaN where the score is undefined (no picture, no text before the word, a word of the thinking).

        Raises:
            SettingError: the source lacks what the detector needs.
        """
        found = located_in(source, mention)
        if found is None:
            return float("nan")
        reading, mention = found
        return reduced([self.at(reading, token, mention) for token in self.chosen(mention)], self.subtokens)

    def judges(self, reading: Reading, mention: Mention) -> bool:
        """Whether a score means something for this word; where every word of a text is coloured, others are left out.
        The risks of this package know the object words that they were trained on."""
        return True

    def chosen(self, mention: Mention) -> Iterable[int]:
        """The tokens of the word that count."""
        if self.subtokens == "first":
            return (mention.start,)
        return (mention.end - 1,) if self.subtokens == "last" else mention.tokens

    def explain(self, source: Reading | SaliencyTrace, mention: Mention) -> dict[str, Any]:
        """The parts of the score at the word's first token, by name; `score` alone where it has none."""
        found = located_in(source, mention)
        return {"score": float("nan")} if found is None else self.parts_of(*found)

    def parts_of(self, reading: Reading, mention: Mention) -> dict[str, Any]:
        """`explain`, of a word of the answer that the reading is of."""
        return {"score": self.score(reading, mention)}

    def row(self, token: int) -> int:
        """The row of the answer's states that is read for a token: row r is the state at position n0 - 1 + r."""
        return token + (self.where == "A")


def reduced(values: Sequence[float], how: str) -> float:
    """One risk of several; NaN where one of them is."""
    found = np.asarray(values, dtype=np.float64)
    if not len(found):
        return float("nan")
    if how in ("first", "last"):
        return float(found[0 if how == "first" else -1])
    return float(found.mean() if how == "mean" else found.max() if how == "max" else found.min())


def located_in(source: Any, mention: Mention) -> tuple[Reading, Mention] | None:
    """The reading of the answer that holds a word, and the word in its positions (see `detection.answers`); None where
    no answer holds all of it."""
    from lvlm_saliency.detection.answers import located

    found = located(source, mention)
    if found is None or not 0 <= found[1].start < found[1].end <= found[0].count:
        return None
    return found


def union(detectors: Iterable[Detector], depth: Depth) -> Needs:
    """What all of these need together."""
    found = Needs()
    for one in detectors:
        found = found | one.needs(depth)
    return found
