"""The guard's judge: the risk of an object in two stages, and the threshold above which the guard acts."""

from __future__ import annotations

from dataclasses import dataclass

from lvlm_saliency.errors import SettingError
from lvlm_saliency.guard.calibration import Calibration, expit
from lvlm_saliency.guard.features import check_causal
from lvlm_saliency.risk.model import RiskModel

DOUBT, UNCALIBRATED = 0.1, 0.5
"""Without a calibration: the first-stage risk from which on the model is asked, and the threshold."""


@dataclass(frozen=True)
class Judge:
    """Judges objects by a risk model, by the model's answer, or by both.

    Attributes:
        mode: "risk", "ask" or "both".
        model: the risk model of the first stage; None in mode "ask".
        calibration: weighs both stages. None: uncalibrated; then the log-odds of the answer are the judgement, and the
            first stage only selects the objects to ask about.
        threshold: the guard acts on objects whose final risk is above it, 0 to 1.
    """

    mode: str
    model: RiskModel | None
    calibration: Calibration | None
    threshold: float

    def doubtful(self, odds: float | None) -> bool:
        """Whether the model is to be asked about an object: it neither passes nor is acted on without an answer.

        Args:
            odds: first-stage log-odds; None where nothing is known.
        """
        if self.mode == "risk":
            return False
        if self.mode == "ask" or odds is None:
            return True
        share = expit(odds)
        return self._low <= share and not (share >= self._high and share > self.threshold)

    @property
    def _low(self) -> float:
        return DOUBT if self.calibration is None else self.calibration.mode("both").pass_below

    @property
    def _high(self) -> float:
        return 1.0 if self.calibration is None else self.calibration.mode("both").act_above

    def passes(self, odds: float | None, margin: float | None) -> bool:
        """Whether an object passes by the first stage alone, without a question."""
        return self.mode == "both" and margin is None and odds is not None and expit(odds) < self._low

    def risk(self, name: str, odds: float | None, margin: float | None) -> float | None:
        """The final risk of an object, 0 to 1; None where there is nothing to judge it by.

        Args:
            name: its canonical name.
            odds: first-stage log-odds; None where nothing is known.
            margin: log-odds of no over yes in the model's answer; None where it was not asked.
        """
        share, known = None if odds is None else expit(odds), self.calibration
        if self.mode == "risk":
            return share if share is None or known is None else known.risk("risk", name, share, margin)
        if margin is None:  # the model was not asked
            return share if self.mode == "both" else None
        if known is None:
            return expit(margin)
        if self.mode == "ask":
            return known.risk("ask", name, share, margin)
        if share is None:  # only the answer is known, so the weights of both stages do not apply
            return known.risk("ask", name, None, margin) if "ask" in known.modes else expit(margin)
        found = known.risk("both", name, share, margin)
        return max(share, found) if share >= self._high else found


def judge_of(
    model: RiskModel | None, calibration: Calibration | None, ask: bool, threshold: float | None, recall_loss: float
) -> Judge:
    """The judge for a risk model.

    Args:
        model: None: the model's answers alone decide.
        calibration: of the risk model, or None.
        ask: whether the model may be asked.
        threshold: None takes it from the calibration.
        recall_loss: the loss of recall for which the calibration gives the threshold, 0 to 1.

    Raises:
        SettingError: neither a risk model nor questions; a risk model whose features look ahead; or one that was not
            calibrated for this mode.
    """
    if model is None and not ask:
        raise SettingError("guard: there is no risk model for this model and ask=False, so nothing can be judged")
    if model is not None:
        check_causal(model)
    mode = "ask" if model is None else "both" if ask else "risk"
    return Judge(mode, model, calibration, _threshold(mode, calibration, threshold, recall_loss))


def _threshold(mode: str, calibration: Calibration | None, given: float | None, recall_loss: float) -> float:
    if calibration is None:
        return UNCALIBRATED if given is None else given
    calibrated = calibration.mode(mode)
    return calibrated.threshold(recall_loss) if given is None else given
