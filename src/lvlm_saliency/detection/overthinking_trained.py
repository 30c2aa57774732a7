"""Overthinking's classifier: layer entropies, attention to picture and text, the score, and repetition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Needs
from lvlm_saliency.detection.fitted import Cases, Trained, logistic
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.overthinking import Overthinking
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class OverthinkingTrained(Trained):
    """Logistic regression on, per layer, the lens entropy H, IA (mean over picture tokens of the largest attention of
    any head) and TA (the same over all other keys, the first token included), the overthinking score, and `repeat`:
    whether the text named the object before. `repeat` knows of position, not of the picture: `repeat=False` leaves it
    out.

    In the released code the text before a word that opens it is the whole text but a character; here it is empty.

    Paper: Overthinking, arXiv 2603.07619; code abinshoby/Overthinking@6ff6877.
    """

    name: ClassVar[str] = "overthinking-trained"
    title: ClassVar[str] = "overthinking, trained"
    paper: ClassVar[str] = "arXiv 2603.07619"

    repeat: bool = True

    def needs(self, depth: Depth) -> Needs:
        return Needs(attention=frozenset(depth.attention), heads=True, text_lens=True)

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        token = self.token(mention)
        row = self.row(token)
        entropies = reading.part("text_entropy", None, "lens of every layer")[reading.index(row)]
        looks = attended(reading, row)
        score = Overthinking(where=self.where).at(reading, token, mention)
        return np.array([*entropies, *looks.ravel(), score, *([float(mention.occurrence > 1)] if self.repeat else [])])

    def learn(self, cases: Cases, seed: int) -> Any:
        return logistic(cases, seed)


def attended(reading: Reading, row: int) -> np.ndarray:
    """IA and TA of every layer, `[layers, 2]`; NaN without a picture."""
    found = []
    for layer in reading.depth.attention:
        largest = reading.headwise(layer, row).max(axis=0)
        inside = np.zeros(len(largest), dtype=bool)
        inside[reading.image] = True
        picture = largest[inside].mean() if inside.any() else np.nan
        found.append((picture, largest[~inside].mean()))
    return np.array(found)
