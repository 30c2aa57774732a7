"""The answers as rows: what was written, whether it is right, and what its deciding token scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlm_saliency.studies.factual.asking import REGIONS, Asked
from lvlm_saliency.studies.factual.judging import judge
from lvlm_saliency.studies.factual.questions import Question
from lvlm_saliency.studies.scores import Score
from lvlm_saliency.studies.tokens import MEASURES
from lvlm_saliency.tracing.pieces import overlapping, text_pieces

TOKENS = ("first", "last", "mean")


@dataclass(frozen=True)
class Answers:
    """N answers that hold a word. All arrays share their first axis.

    Attributes:
        questions, said: the question and the words of its answer.
        wrong: bool `[N]`.
        position: int `[N]`, how many tokens of the text precede the answer's first.
        length: int `[N]`, tokens of the answer.
        logprob, entropy: float64 `[N]`, nats.
        saliency, attention: float64 `[N, len(layers), len(REGIONS)]`, of the token that speaks for the answer.
    """

    layers: Sequence[int]
    questions: Sequence[Question]
    said: Sequence[str]
    wrong: np.ndarray
    position: np.ndarray
    length: np.ndarray
    logprob: np.ndarray
    entropy: np.ndarray
    saliency: np.ndarray
    attention: np.ndarray

    def __len__(self) -> int:
        return len(self.wrong)

    @property
    def kind(self) -> np.ndarray:
        """object `[N]`: the kind of each question."""
        return np.array([one.kind for one in self.questions], dtype=object)

    @property
    def subject(self) -> np.ndarray:
        """int `[N]`: number of what the question is about; what intervals redraw and splits keep together."""
        return np.unique([one.subject for one in self.questions], return_inverse=True)[1]

    def score(self, measure: str, region: str, layer: int | None = None) -> np.ndarray:
        """float64 `[N]`: a measure over a region, of one layer or the mean of all."""
        values: np.ndarray = getattr(self, measure)[..., REGIONS.index(region)]
        return values.mean(axis=1) if layer is None else values[:, list(self.layers).index(layer)]

    def scores(self) -> list[Score]:
        """Saliency and attention over each region, mean of all layers, then log-probability and entropy."""
        pairs = [(measure, region) for measure in MEASURES for region in REGIONS]
        found = [Score(f"{measure}: {region}", self.score(measure, region)) for measure, region in pairs]
        return [*found, Score("log-probability", self.logprob), Score("entropy", self.entropy, low_is_risky=False)]


def answers_of(questions: Sequence[Question], asked: Asked, tokenizer: Any, token: str = "first") -> Answers:
    """The answers that hold a word, judged, each with the figures of its first or last token, or their mean."""
    kept, said, wrong, tokens = [], [], [], []
    for number, question in enumerate(questions):
        ids = [int(one) for one in asked.token_ids[number] if one >= 0]
        pieces = text_pieces(tokenizer, ids)
        text = "".join(pieces)
        judged = judge(text, question.accepted)
        own = [] if judged is None else overlapping(pieces, [judged])[0]
        if judged is not None and own:
            kept.append(number)
            said.append(text[judged.start : judged.end])
            wrong.append(not judged.right)
            tokens.append(own)

    def speaking(values: np.ndarray) -> np.ndarray:
        read = {"first": lambda own: own[0], "last": lambda own: own[-1], "mean": lambda own: own.mean(axis=0)}[token]
        rows = [read(values[number, own]) for number, own in zip(kept, tokens, strict=True)]
        return np.array(rows, dtype=np.float64).reshape(len(kept), *values.shape[2:])

    first = np.array([own[0] for own in tokens], dtype=np.int64)
    return Answers(
        layers=asked.layers,
        questions=[questions[number] for number in kept],
        said=said,
        wrong=np.array(wrong, dtype=bool),
        position=asked.position[kept] + first,
        length=np.array([len(own) for own in tokens], dtype=np.int64),
        **{name: speaking(getattr(asked, name)) for name in ("logprob", "entropy", *MEASURES)},
    )
