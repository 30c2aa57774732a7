"""Controls that replace the guard's judge in measurements.

A guard that rewrites may gain from good decisions, from rewriting at all, or from acting late in a text, where most
hallucinated words are. The controls keep the actions and change only the decision: `Oracle` knows the labels and gives
an upper bound of what the actions can reach, `Random` acts equally often on random words, and `Position` on words that
are named late.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from lvlm_saliency.errors import InputError

NEVER = 10**9
"""An upper bound of the number of objects in a text."""


@dataclass(frozen=True)
class Judged:
    """An object word that is to be judged.

    Attributes:
        sample: the number of its text (`sample_ids` of `generate`).
        name: the object's canonical name.
        sentence: number of its sentence in the text, from 0.
        attempt: how often that sentence was generated before.
        before: number of distinct objects named before it.
    """

    sample: int
    name: str
    sentence: int
    attempt: int
    before: int


class Verdicts(Protocol):
    """Decides in place of the guard's judge.

    It is asked once for each object of a text, and again when a rewritten sentence names the object again; its answers
    are not cached.
    """

    def acts(self, word: Judged) -> bool:
        """Whether the guard is to act on this word."""

    def record(self) -> dict[str, Any]:
        """Its entry in the configuration of a run, as JSON values."""


@dataclass(frozen=True)
class Oracle:
    """The labels decide.

    Attributes:
        present: for each sample, the canonical names of the objects in its picture.
    """

    name: ClassVar[str] = "oracle"

    present: Mapping[int, Collection[str]] = field(repr=False)

    def acts(self, word: Judged) -> bool:
        """Whether the object is absent.

        Raises:
            InputError: `present` has no entry for the sample.
        """
        if word.sample not in self.present:
            raise InputError(f"the oracle does not know what is in the picture of sample {word.sample}")
        return word.name not in self.present[word.sample]

    def record(self) -> dict[str, Any]:
        return {"verdicts": self.name}


@dataclass(frozen=True)
class Rates:
    """How often another guard acted, as shares of the words that it judged.

    Attributes:
        first: at the first attempt, by number of the sentence (later sentences: as the last).
        again: in rewritten sentences.
    """

    first: tuple[float, ...]
    again: float

    def of(self, word: Judged) -> float:
        """The share for a word's position."""
        if word.attempt:
            return self.again
        return self.first[min(word.sentence, len(self.first) - 1)] if self.first else 0.0

    @classmethod
    def measured(cls, words: Iterable[tuple[Judged, bool]]) -> Rates:
        """From words that were judged, and whether each was acted on."""
        words = list(words)
        first: dict[int, list[bool]] = {}
        for word, acted in words:
            if not word.attempt:
                first.setdefault(word.sentence, []).append(acted)
        again = [acted for word, acted in words if word.attempt]
        shares = [_share(first.get(number, ())) for number in range(max(first, default=-1) + 1)]
        return cls(tuple(shares), _share(again))


@dataclass(frozen=True)
class Random:
    """Acts at the rates of another guard, on words drawn at random.

    Attributes:
        rates: how often to act.
        seed: of the draws; each depends on the seed, the sample, the sentence, the attempt and the object alone.
    """

    name: ClassVar[str] = "random"

    rates: Rates
    seed: int = 0

    def acts(self, word: Judged) -> bool:
        """Whether this word is drawn."""
        return _drawn(self.seed, word) < self.rates.of(word)

    def record(self) -> dict[str, Any]:
        return {"verdicts": self.name, "seed": self.seed, "first": list(self.rates.first), "again": self.rates.again}


@dataclass(frozen=True)
class Position:
    """Acts on the words with the most objects before them, as often as another guard acts.

    Attributes:
        first, again: (count, share) for first attempts and for rewritten sentences. It acts on every word with more
            than `count` objects before it, on the share `share` of those with exactly `count`, and on no others.
        seed: of the draws for that share.
    """

    name: ClassVar[str] = "position"

    first: tuple[int, float]
    again: tuple[int, float]
    seed: int = 0

    def acts(self, word: Judged) -> bool:
        """Whether the word comes late enough."""
        count, share = self.again if word.attempt else self.first
        return word.before > count or (word.before == count and _drawn(self.seed, word) < share)

    def record(self) -> dict[str, Any]:
        return {"verdicts": self.name, "seed": self.seed, "first": list(self.first), "again": list(self.again)}

    @classmethod
    def measured(cls, words: Iterable[tuple[Judged, bool]], seed: int = 0) -> Position:
        """A control that acts as often as the guard that judged these words. words: each with whether it acted."""
        words = list(words)
        first, second = (
            _latest([word.before for word, _ in some], sum(acted for _, acted in some))
            for some in (
                [pair for pair in words if not pair[0].attempt],
                [pair for pair in words if pair[0].attempt],
            )
        )
        return cls(first, second, seed)


def _latest(places: Sequence[int], wanted: int) -> tuple[int, float]:
    """The (count, share) that selects, on average, the `wanted` largest of `places`."""
    if not wanted:
        return NEVER, 0.0
    left = wanted
    for place in sorted(set(places), reverse=True):
        here = places.count(place)
        if left < here:
            return place, left / here
        left -= here
    return min(places) - 1, 0.0


def _share(acted: Collection[bool]) -> float:
    return sum(acted) / len(acted) if acted else 0.0


def _drawn(seed: int, word: Judged) -> float:
    """A uniform number in [0, 1) that depends on seed and word alone."""
    text = f"{seed} {word.sample} {word.sentence} {word.attempt} {word.name}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56
