"""`--risk` and `--detector`: opens what reads an answer, and checks that it fits the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import SettingError
from .output import say

OWN_RISK = "<own>"


def open_risk(given: str, model: str, layers: list[int] | None, normalise: str) -> Any:
    """The risk model of a file, or the one that ships with the model, before anything else is loaded.

    Raises:
        SettingError: no risk model ships with the model, or the trace's settings are not those that it needs.
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


def open_detector(name: str, model: str) -> Any:
    """The detector of this name, before a model is loaded.

    Raises:
        SettingError: there is none, it has to be fitted first, or it is the risk of another model.
    """
    from ..detection.fitted import check_ready
    from ..detection.registry import detector

    found = detector(name.strip().lower())
    check_ready(found)
    if found.ships:
        open_risk(OWN_RISK, model, None, "row")
    return found


def check_risk(risk: Any, model: Any) -> None:
    """Refuse a risk model of another architecture; print a note where only the weights differ."""
    if note := risk.check(model):
        say(f"note: {note}", err=True)
