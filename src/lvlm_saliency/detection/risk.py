"""The calibrated risk of this package, as a detector."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading
from lvlm_saliency.errors import SettingError


@dataclass(frozen=True)
class Risk(Detector):
    """The probability of `RiskModel` that an object word is hallucinated, read from a trace.

    `model`: a `RiskModel`, or the path of one; default the one that ships for the scenes model. It may read words that
    follow (six tokens): not causal.
    """

    name: ClassVar[str] = "risk"
    title: ClassVar[str] = "calibrated risk of a trace"
    paper: ClassVar[str] = "ours"
    passes: ClassVar[str] = "a backward pass"
    fit: ClassVar[str] = "trained"
    causal: ClassVar[bool] = False
    ships: ClassVar[str] = "scenes"
    places: ClassVar[tuple[str, ...]] = ("P",)

    model: Any = None

    def needs(self, depth: Depth) -> Needs:
        return Needs(gradient=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        if reading.trace is None:
            raise SettingError("risk needs a trace: pass one, or make the reading with this detector's name")
        if reading.architecture is not None:
            self._opened().check_fits(reading.architecture)
        if self.name not in reading.scores:
            risks = self._opened().predict(reading.trace)[reading.sample]
            reading.scores[self.name] = risks.double().numpy()
        return float(reading.scores[self.name][token])

    def judges(self, reading: Reading, mention: Mention) -> bool:
        return begins_object(self._opened(), reading, mention)

    def digest(self) -> str:
        """SHA-256 of the risk model that it reads, in hexadecimal."""
        return self._opened().digest()

    def _opened(self) -> Any:
        from lvlm_saliency.risk.model import SHIPPED

        return opened(self.model, SHIPPED)


def opened(given: Any, ships: Path) -> Any:
    """A `RiskModel` as it is, one of a file, or (None) the one that ships in that file."""
    from lvlm_saliency.risk.model import RiskModel

    if given is None:
        return _shipped(ships)
    return given if isinstance(given, RiskModel) else RiskModel.load(Path(given))


@functools.cache
def _shipped(path: Path) -> Any:
    from lvlm_saliency.risk.model import RiskModel

    return RiskModel.load(path)


def begins_object(model: Any, reading: Reading, mention: Mention) -> bool:
    """Whether the word's first token began an object word in the risk model's training texts."""
    return bool(np.isin(reading.answer[mention.start], model.objects))
