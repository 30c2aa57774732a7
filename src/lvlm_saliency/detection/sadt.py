"""SADT: whether the most attended patches read as the word."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.geometry import top
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading
from lvlm_saliency.errors import SettingError


@dataclass(frozen=True)
class SADT(Detector):
    """In each of layers 20 to 26 of 32 the 4 most attended picture tokens (heads averaged, state that predicts the
    word) are read through the lens, hidden state l for the attention of layer l (the input of that block), no norm.

    mode="log_probability" (default, ours): the risk is -max over these of log p(the word's token): graded, and a word
    of several tokens counts at its first. mode="official_code": -(how many of these tokens decode to the word), where a
    decoded piece matches when it and the word, or one of `synonyms`, contain one another, as in the released code: a
    decoded "s" or "a" counts for many words. The paper's binary rule is: hallucinated if that number is 0.

    Paper: SADT, CVPR 2026, arXiv 2608.07302; code wzczc/SADT@e07a843.
    """

    name: ClassVar[str] = "sadt"
    title: ClassVar[str] = "lens of the most attended patches"
    paper: ClassVar[str] = "arXiv 2608.07302"

    first: int = 20
    last: int = 26
    count: int = 4
    mode: str = "log_probability"
    synonyms: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("mode", ("log_probability", "official_code"))

    def needs(self, depth: Depth) -> Needs:
        layers = frozenset(depth.layers(self.first, self.last))
        lenses = frozenset((layer, 1.0) for layer in layers)
        extra = frozenset(["words"]) if self.mode == "official_code" else frozenset()
        return Needs(attention=layers, image_lens=lenses, extra=extra)

    def chosen_patches(self, reading: Reading, token: int) -> dict[int, np.ndarray]:
        """The most attended picture tokens, as indices into `reading.image`, by layer."""
        layers = reading.depth.layers(self.first, self.last)
        rows = {layer: reading.attended(layer, self.row(token)).mean(axis=0)[reading.image] for layer in layers}
        return {layer: top(row, self.count) for layer, row in rows.items()}

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        if not len(reading.image):
            return float("nan")
        lenses = {
            layer: reading.part("image_lens", (layer, 1.0), f"lens of hidden state {layer} of the picture")
            for layer in reading.depth.layers(self.first, self.last)
        }
        places = self.chosen_patches(reading, token)
        if self.mode == "log_probability":
            found = [lens.log_p(int(reading.answer[token])) for lens in lenses.values()]
            if any(one is None for one in found):
                return float("nan")
            return -float(max(one[places[layer]].max() for layer, one in zip(lenses, found, strict=True)))
        if reading.piece is None:
            raise SettingError("sadt: mode='official_code' reads words: make the reading with processor=")
        words = [reading.piece[int(one)] for layer, lens in lenses.items() for one in lens.top[places[layer]]]
        wanted = next((group for group in self.synonyms if mention.word.lower() in group), (mention.word,))
        return -float(sum(alike(wanted, word) for word in words))


def alike(words: Collection[str], decoded: str) -> bool:
    """Whether a decoded token counts as evidence for one of these words: either contains the other (a plural -s may be
    added to the word), case aside."""
    plain = decoded.replace("\u2581", " ").strip().strip(".,;:!?\"'()[]").lower()
    return bool(plain) and any(plain in f"{word.lower()}s" or word.lower() in plain for word in words)
