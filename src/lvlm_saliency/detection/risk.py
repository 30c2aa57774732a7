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


class OfRiskModel:
    """A detector that is a risk model: its setting `model`, by default the one that ships.

    A mixin; the class with it has the field `model`: None, a `RiskModel`, or the path of one.
    """

    ships: ClassVar[str] = "scenes"
    model: Any

    @classmethod
    def shipped_file(cls) -> Path:
        """The risk model that ships."""
        raise NotImplementedError(f"{cls.__name__} does not say which risk model ships")

    def risk_model(self) -> Any:
        """The `RiskModel` that it reads.

        Raises:
            InputError: its file cannot be used.
        """
        from lvlm_saliency.risk.model import RiskModel

        if self.model is None:
            return _shipped(self.shipped_file())
        return self.model if isinstance(self.model, RiskModel) else RiskModel.load(Path(self.model))

    def judges(self, reading: Reading, mention: Mention) -> bool:
        """Whether the word's first token began an object word in the risk model's training texts."""
        return bool(np.isin(reading.answer[mention.start], self.risk_model().objects))

    def digest(self) -> str:
        """SHA-256 of the risk model that it reads, in hexadecimal."""
        digest: str = self.risk_model().digest()
        return digest


@dataclass(frozen=True)
class Risk(OfRiskModel, Detector):
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
    places: ClassVar[tuple[str, ...]] = ("P",)

    model: Any = None

    def needs(self, depth: Depth) -> Needs:
        return Needs(gradient=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        if reading.trace is None:
            raise SettingError("risk needs a trace: pass one, or make the reading with this detector's name")
        if reading.architecture is not None:
            self.risk_model().check_fits(reading.architecture)
        if self.name not in reading.scores:
            risks = self.risk_model().predict(reading.trace)[reading.sample]
            reading.scores[self.name] = risks.double().numpy()
        return float(reading.scores[self.name][token])

    @classmethod
    def shipped_file(cls) -> Path:
        from lvlm_saliency.risk.model import SHIPPED

        return SHIPPED


@functools.cache
def _shipped(path: Path) -> Any:
    from lvlm_saliency.risk.model import RiskModel

    return RiskModel.load(path)
