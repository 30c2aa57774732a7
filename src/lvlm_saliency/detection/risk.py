"""The calibrated risk of this package, as a detector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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
    places: ClassVar[tuple[str, ...]] = ("P",)

    model: Any = None

    def needs(self, depth: Depth) -> Needs:
        return Needs(gradient=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        if reading.trace is None:
            raise SettingError("risk needs a trace: pass one, or make the reading with this detector's name")
        if self.name not in reading.scores:
            risks = self._opened().predict(reading.trace)[reading.sample]
            reading.scores[self.name] = risks.double().numpy()
        return float(reading.scores[self.name][token])

    def digest(self) -> str:
        """SHA-256 of the risk model that it reads, in hexadecimal."""
        return self._opened().digest()

    def _opened(self) -> Any:
        from lvlm_saliency.risk.model import SHIPPED, RiskModel

        if isinstance(self.model, RiskModel):
            return self.model
        return RiskModel.load(SHIPPED if self.model is None else Path(self.model))
