"""`--risk`: which risk model reads an answer, whether it fits the model, and what it finds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SettingError
from .output import say

OWN_RISK = "<own>"


@dataclass(frozen=True)
class RiskFound:
    """The risk of every token of an answer, which of them begin object words, and the model that says so."""

    values: list[float]
    objects: list[bool]
    about: dict[str, Any]

    @property
    def of_objects(self) -> list[float]:
        """The risk of object words, NaN for every other token."""
        return [value if known else math.nan for value, known in zip(self.values, self.objects, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` adds."""
        return {"risk": self.values, "object_words": self.objects, "risk_model": self.about}


def open_risk(given: str, model: str, layers: list[int] | None, normalise: str) -> Any:
    """The risk model of a file, or the one that ships with the model, before anything else is loaded.

    Raises:
        SettingError: the model has none of its own, or the trace would not be one that it reads.
        InputError: the file cannot be used.
    """
    from lvlm_saliency.risk.model import SHIPPED, RiskModel

    if normalise != "row":
        raise SettingError("--risk reads a trace normalised by row: leave --normalise out")
    if given == OWN_RISK and model != "scenes":
        raise SettingError(
            f"no risk model ships with {model}: train one (lvlm-saliency study detect --model {model} --labels ... "
            "--out DIR) and give --risk DIR/detect/risk.safetensors"
        )
    found = RiskModel.load(SHIPPED if given == OWN_RISK else Path(given))
    if layers is not None and (missing := [layer for layer in found.layers if layer not in layers]):
        raise SettingError(f"--risk reads layers {list(found.layers)}, and --layers leaves {missing} out: leave it out")
    return found


def check_risk(risk: Any, session: Any) -> None:
    """Refuse a risk model of another architecture; say so when only the weights differ."""
    if note := risk.check(session.model):
        say(f"note: {note}", err=True)


def risk_of(risk: Any, trace: Any) -> RiskFound:
    """The risk of the first sample's tokens."""
    keep = trace.valid[0]
    values, objects = risk.predict(trace)[0][keep], risk.names_object(trace)[0][keep]
    return RiskFound(values.tolist(), objects.tolist(), dict(risk.about))
