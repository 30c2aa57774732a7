"""Negative log-probability of the word, and its sums over the word's tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.detection.base import Depth, Detector, Needs
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading


@dataclass(frozen=True)
class NLL(Detector):
    """-log p(y_t | picture, prompt, y_<t), nats, of the model's own distribution (no temperature, no top-k).

    `subtokens="first"` is what detection papers report; "mean" is the log of the perplexity, "max" the maximum token
    claim of LM-Polygraph. mode="sum" adds up the word's tokens (its maximum claim probability), which penalises long
    words.

    Paper: Malinin and Gales, Uncertainty estimation in autoregressive structured prediction, arXiv 2002.07650.
    """

    name: ClassVar[str] = "nll"
    title: ClassVar[str] = "negative log-probability"
    paper: ClassVar[str] = "arXiv 2002.07650"
    places: ClassVar[tuple[str, ...]] = ("P",)

    mode: str = "token"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("mode", ("token", "sum"))

    def needs(self, depth: Depth) -> Needs:
        return Needs(logits=True)

    def at(self, reading: Reading, token: int, mention: Mention) -> float:
        log_p = reading.part("logprob", None, "log-probabilities")
        tokens = mention.tokens if self.mode == "sum" else (token,)
        return -float(sum(log_p[one] for one in tokens))
