"""`RiskModel`: the calibrated risk that a word is hallucinated, from a trace alone.

A file holds only arrays (safetensors), no code; reading it and predicting need numpy, not scikit-learn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.risk import saved
from lvlm_saliency.short import shown, some

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.tracing.result import SaliencyTrace

SHIPPED = Path(__file__).parent / "scenes.safetensors"
SHIPPED_CAUSAL = Path(__file__).parents[1] / "guard" / "scenes.safetensors"
"""The one that reads nothing behind a word: the guard's, with its calibration."""


@dataclass(frozen=True)
class RiskModel:
    """A classifier over features of each token of a trace, with its calibration.

    Attributes:
        groups: groups of features (`signals.FREE`), in order.
        layers: decoder layers that the features are read from.
        features: the names of the F features.
        fill: float64 `[F]`, replaces missing values.
        mean: float64 `[F]`, of the standardisation.
        scale: float64 `[F]`, likewise.
        kind: "logistic" or "trees" (gradient-boosted); both give log-odds.
        arrays: "logistic": weight `[F]`, bias `[1]`. "trees": start `[trees]`, the first node of each; per node left,
            right (-1: a leaf), feature, threshold, leaf; root `[1]`.
        slope: of Platt's calibration, risk = sigmoid(slope x log-odds + offset).
        offset: likewise.
        objects: int64 `[K]`, the tokens that began object words in the training texts.
        bends: float64 `[2 K]`, knot and change of slope by turns: above each knot the calibrated log-odds also grow by
            change x (log-odds - knot).
        about: how it was made (model, weights, architecture, pictures, figures), as JSON values.
    """

    groups: tuple[str, ...]
    layers: tuple[int, ...]
    features: tuple[str, ...]
    fill: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    kind: str
    arrays: Mapping[str, np.ndarray]
    slope: float
    offset: float
    objects: np.ndarray
    about: Mapping[str, Any] = field(default_factory=dict)
    bends: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __repr__(self) -> str:
        return shown(
            self,
            model=repr(self.about.get("model")),
            kind=self.kind,
            layers=some(self.layers),
            features=len(self.features),
            objects=len(self.objects),
        )

    # --- use ---

    def predict(self, trace: SaliencyTrace) -> Tensor:
        """The risk of every generated token, float32 `[batch, T]`, 0 to 1, NaN past the end of the text.

        It is trained and calibrated on tokens that begin an object word (`names_object`); for other tokens the number
        is an extrapolation without meaning. Where a text thinks (`SaliencyTrace.with_thinking`), each answer is read
        by itself, with its thinking as a part of the prompt, and tokens of the thinking have no risk (NaN).

        Raises:
            InputError: the trace lacks a layer that the model reads.
            SettingError: the trace is not normalised row by row.
        """
        from lvlm_saliency.risk.signals import CAUSAL, FREE, names_of
        from lvlm_saliency.tracing.answers import over_answers

        chosen = self.layers_of(trace)
        known = {*FREE, *CAUSAL}.issuperset(self.groups)
        if not known or tuple(name for group in self.groups for name in names_of(group, chosen)) != self.features:
            raise InputError("the risk model was made by another version of this package: train it again")
        if trace.settings.get("normalise", "row") != "row":
            raise SettingError("risk is read from a trace normalised by row, and this one is by matrix")
        return over_answers(trace, self._predicted)

    def _predicted(self, trace: SaliencyTrace) -> Tensor:
        import torch

        from lvlm_saliency.risk.signals import of_trace

        groups = of_trace(trace, self.layers_of(trace), self.groups)
        values = np.concatenate([groups[name] for name in self.groups], axis=-1)
        batch, count, width = values.shape
        risk = self.probability(values.reshape(-1, width)).reshape(batch, count)
        return torch.from_numpy(risk.astype(np.float32)).masked_fill(~trace.valid, float("nan"))

    def names_object(self, trace: SaliencyTrace) -> Tensor:
        """Which tokens of an answer also began an object word in the training texts, bool `[batch, T]`."""
        import torch

        from lvlm_saliency.tracing.answers import answer_mask

        return torch.isin(trace.token_ids, torch.from_numpy(self.objects)) & answer_mask(trace)

    def check(self, model: Any) -> str:
        """Whether it was trained for this model: a note where the weights are others, "" where they are the same.

        Raises:
            InputError: the model has another architecture, so that the features would have another meaning.
        """
        from lvlm_saliency.model.provenance import fingerprint

        self.check_architecture(model)
        if self.about.get("weights") == fingerprint(model)[:16]:
            return ""
        return "the risk model was trained with other weights (or in another precision): it may be out of calibration"

    def check_architecture(self, model: Any) -> None:
        """Refuse a model for which the features would have another meaning; its weights are not read.

        Raises:
            InputError: the model has another architecture than the one that it was trained on.
        """
        self.check_fits(architecture(model))

    def check_fits(self, here: Mapping[str, Any]) -> None:
        """As `check_architecture`, of a model that is known by its `architecture` alone.

        Raises:
            InputError: naming both.
        """
        wanted = self.about.get("architecture")
        if wanted != here:
            raise InputError(f"the risk model was trained on {_shown(wanted)}, and this model is {_shown(here)}")

    def layers_of(self, trace: SaliencyTrace) -> list[int]:
        """The layers that it reads, checked to be in the trace.

        Raises:
            InputError: some are not.
        """
        missing = [layer for layer in self.layers if layer not in trace.layers]
        if missing:
            raise InputError(
                f"the risk model reads layers {list(self.layers)}, and the trace lacks {missing}: trace every layer, "
                "or train a risk model for this model (lvlm-saliency study detect)"
            )
        return list(self.layers)

    # --- arithmetic ---

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        """Log-odds before calibration, float64 `[N]`, of features `[N, F]` before standardisation, NaN where
        missing."""
        values = np.asarray(values, dtype=np.float64)
        values = np.where(np.isfinite(values), values, self.fill)
        values = (values - self.mean) / self.scale
        if self.kind == "logistic":
            return values @ self.arrays["weight"] + self.arrays["bias"][0]
        return self._boosted(values.astype(np.float32))  # as scikit-learn's trees compare

    def probability(self, values: np.ndarray) -> np.ndarray:
        """Calibrated risk, float64 `[N]`."""
        odds = self.calibrated(self.log_odds(values))
        with np.errstate(over="ignore"):  # exp overflows to infinity above 709; the risk is then 0, as it should be
            return 1 / (1 + np.exp(-odds))

    def calibrated(self, log_odds: np.ndarray) -> np.ndarray:
        """Calibrated log-odds, float64 `[N]`, of those that `log_odds` gives."""
        found = self.slope * log_odds + self.offset
        for knot, change in self.bends.reshape(-1, 2):
            found = found + change * np.maximum(log_odds - knot, 0)
        return found

    def _boosted(self, values: np.ndarray) -> np.ndarray:
        """Log-odds of the trees: all rows descend all trees together, and a leaf is its own child."""
        nodes, rows = self.arrays, np.arange(len(values))[:, None]
        at = np.broadcast_to(nodes["start"], (len(values), len(nodes["start"]))).copy()
        while True:
            inner = nodes["left"][at] >= 0
            if not inner.any():
                return nodes["leaf"][at].sum(axis=1) + nodes["root"][0]
            lower = values[rows, nodes["feature"][at]] <= nodes["threshold"][at]
            at = np.where(inner, np.where(lower, nodes["left"][at], nodes["right"][at]), at)

    # --- files ---

    def save(self, path: str | Path) -> None:
        """Write the model as one safetensors file; the same model gives the same bytes."""
        saved.write(self, path)

    def digest(self) -> str:
        """SHA-256 of the file that `save` writes, in hexadecimal."""
        return hashlib.sha256(saved.as_bytes(self)).hexdigest()

    @classmethod
    def load(cls, path: str | Path) -> RiskModel:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, damaged, of another format, or no risk model.
        """
        return cls(**saved.read(path))


def architecture(model: Any) -> dict[str, Any]:
    """What a risk model's file and a model must agree in: class, layers with attention, hidden width, vocabulary
    size."""
    from lvlm_saliency import hf

    config = hf.text_config(model)
    return {
        "class": type(model).__name__,
        "layers": hf.attention_layers(model),
        "width": config.hidden_size,
        "words": config.vocab_size,
    }


def _shown(known: Mapping[str, Any] | None) -> str:
    if not known:
        return "an unknown model"
    return f"a {known['class']} of {len(known['layers'])} layers x {known['width']}, {known['words']} words"
