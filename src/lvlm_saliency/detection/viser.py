"""VisER: visual evidence for the word, and its share beside the evidence of the words before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from lvlm_saliency.detection.base import Depth, Needs
from lvlm_saliency.detection.fitted import Cases, Fittable
from lvlm_saliency.detection.geometry import cosine, cosines, largest
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading
from lvlm_saliency.errors import SettingError

UNFITTED = (
    "viser needs tau, the mean of its evidence over calibration pictures: detector('viser', tau=...), or fitted(cases)"
)


@dataclass(frozen=True)
class VisER(Fittable):
    """-(alpha VE + (1 - alpha) VR), with p_i = softmax(W v_i)[word], v_i the picture's states 32 of 32:

    VE = cos(last prompt state, word's state) sigmoid(sum_i p_i / tau), states 31 of 32;
    VR = S_img / (S_img + S_text + 1e-8), S_img = sum_i (p_i / sum p) max(0, cos(v_i, word's state)), S_text = mean of
    the 10 largest max(0, cos(e_j, e_word)) over input embeddings of the answer's tokens before the word.

    Before the first token S_text is 0 and VR is 1. A repeated word occurs in its own prefix with cosine 1, so the score
    is meant for first mentions. `tau` is the mean of sum_i p_i over 100 calibration pictures (`fitted`; `study detect`
    fits it on other pictures).

    Paper: VisER, arXiv 2608.30480 (read in full; no code).
    """

    name: ClassVar[str] = "viser"
    title: ClassVar[str] = "visual evidence ratio"
    paper: ClassVar[str] = "arXiv 2608.30480"
    fit: ClassVar[str] = "scale"

    tau: float | None = None
    alpha: float = 0.4
    count: int = 10

    @property
    def ready(self) -> bool:
        return self.tau is not None

    def needs(self, depth: Depth) -> Needs:
        last = depth.count
        return Needs(
            text=frozenset([self._late(depth)]),
            image=frozenset([last]),
            image_lens=frozenset([(last, 1.0)]),
            embeddings=True,
        )

    @staticmethod
    def _late(depth: Depth) -> int:
        return min(depth.hidden(31), depth.count - 1)

    def mass(self, reading: Reading, token: int) -> np.ndarray | None:
        """p_i of the word's token, `[I]`; None without a picture."""
        lens = reading.part("image_lens", (reading.depth.count, 1.0), "lens of the picture's last state")
        log_p = lens.log_p(int(reading.answer[token])) if len(reading.image) else None
        return None if log_p is None else np.exp(log_p.astype(np.float64))

    def features(self, reading: Reading, mention: Mention) -> np.ndarray:
        parts = self.parts(reading, mention.start)
        return np.array([parts["context"], parts["mass"], parts["VR"]])

    def fitted(self, cases: Cases, seed: int = 0) -> Self:
        masses = cases.values[:, 1]
        if not np.isfinite(masses).any():
            raise SettingError("viser: no word with a picture to fit tau on")
        return replace(self, tau=float(np.nanmean(masses)))

    def risks(self, values: np.ndarray, names: np.ndarray) -> np.ndarray:
        if self.tau is None:
            raise SettingError(UNFITTED)
        context, mass, ratio = values.T
        return -(self.alpha * context / (1 + np.exp(-mass / self.tau)) + (1 - self.alpha) * ratio)

    def parts(self, reading: Reading, token: int) -> dict[str, float]:
        """VE, VR and their parts; without the gate of VE where `tau` is not known."""
        p = self.mass(reading, token)
        if p is None:
            return dict.fromkeys(("context", "mass", "S_img", "S_text", "VR"), float("nan"))
        late = self._late(reading.depth)
        word = reading.state(late, self.row(token))
        seen = float((p / p.sum() * np.maximum(cosines(reading.patches(reading.depth.count), word), 0)).sum())
        before = [reading.part("embedding", int(one), "input embeddings") for one in reading.answer[:token]]
        own = reading.part("embedding", int(reading.answer[token]), "input embeddings").astype(np.float64)
        near = np.maximum(cosines(np.array(before, dtype=np.float64), own), 0) if before else np.zeros(1)
        told = float(largest(near, self.count).mean())
        return {
            "context": cosine(reading.state(late, 0), word),
            "mass": float(p.sum()),
            "S_img": seen,
            "S_text": told,
            "VR": seen / (seen + told + 1e-8),
        }

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        parts = self.parts(reading, token)
        values = np.array([[parts["context"], parts["mass"], parts["VR"]]])
        return float(self.risks(values, np.array([mention.name]))[0])

    def parts_of(self, reading: Reading, mention: Mention) -> dict[str, Any]:
        return dict(self.parts(reading, mention.start))
