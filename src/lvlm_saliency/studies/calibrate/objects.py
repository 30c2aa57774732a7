"""What is learned from: every object of every text, as it is named for the first time, with its features and answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED
from lvlm_saliency.risk.fitting import Data
from lvlm_saliency.risk.signals import CAUSAL, names_of, of_trace
from lvlm_saliency.studies.calibrate.parts import FIT, Part
from lvlm_saliency.studies.collect import digest
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.self_check import self_check
from lvlm_saliency.studies.tokens import TokenTable

PREFIX = "causal: "


@dataclass(frozen=True)
class Objects:
    """N objects, each at its first mention in its text.

    Attributes:
        values: float64 `[N, F]`, features of `CAUSAL`.
        margin: float64 `[N]`, log-odds of no over yes when the model is asked about it (NaN where nobody could ask).
        y: bool `[N]`, absent.
        name: object `[N]`.
        picture: int `[N]`, which picture, from 0.
        pictures: how many there are, those whose texts name nothing too.
        greedy: bool `[N]`, in greedy (or given) texts.
        token: int `[N]`.
        token: int `[N]`, number of the object word's first token.
        layers: those that were read.
        texts: number of texts.
    """

    values: np.ndarray
    margin: np.ndarray
    y: np.ndarray
    name: np.ndarray
    picture: np.ndarray
    pictures: int
    greedy: np.ndarray
    token: np.ndarray
    layers: tuple[int, ...]
    texts: int

    def __len__(self) -> int:
        return len(self.y)

    @property
    def asked(self) -> bool:
        """Whether the model was asked about every object."""
        return bool(np.isfinite(self.margin).all())

    @property
    def data(self) -> Data:
        """Ready to be learned from."""
        return Data(
            self.values, self.y, self.picture, [one for group in CAUSAL for one in names_of(group, self.layers)]
        )

    def take(self, rows: np.ndarray) -> Objects:
        """Some of the rows (a mask or numbers); the pictures stay as many."""
        names = ("values", "margin", "y", "name", "picture", "greedy", "token")
        return Objects(
            **{name: getattr(self, name)[rows] for name in names},
            pictures=self.pictures,
            layers=self.layers,
            texts=self.texts,
        )

    def by_picture(self, score: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
        """The scores `[N]` of the chosen rows (a mask), for each picture."""
        return [score[rows & (self.picture == number)] for number in range(self.pictures)]

    def counts(self) -> list[dict[str, tuple[int, int]]]:
        """For each picture, by class: objects, and absent ones."""
        found: list[dict[str, tuple[int, int]]] = [{} for _ in range(self.pictures)]
        for picture, name, wrong in zip(self.picture.tolist(), self.name.tolist(), self.y.tolist(), strict=True):
            count, bad = found[picture].get(name, (0, 0))
            found[picture][name] = (count + 1, bad + wrong)
        return found


def gather(lab: Lab, part: Part, *, traced: bool = True, ask: bool = True) -> Objects:
    """The objects of a part: in greedy texts, and to learn from in sampled ones as well, which err more often; in the
    user's own texts where they come from a file. `traced`: with features; `ask`: whether the model is asked about each.
    """
    methods = [GREEDY, SAMPLED] if part.name == FIT and not lab.from_file else [GREEDY]
    found = [_gathered(lab, part, method, traced, ask) for method in methods]
    images = sorted({image for one in found for image in one.images})
    numbers = {image: number for number, image in enumerate(images)}
    return Objects(
        values=np.concatenate([one.values for one in found]),
        margin=np.concatenate([one.margin for one in found]),
        y=np.concatenate([one.y for one in found]),
        name=np.concatenate([one.name for one in found]),
        picture=np.array([numbers[image] for one in found for image in one.image], dtype=np.int64),
        pictures=len(images),
        greedy=np.concatenate([np.full(len(one.y), one.method == GREEDY) for one in found]),
        token=np.concatenate([one.token for one in found]),
        layers=found[0].layers,
        texts=sum(one.count for one in found),
    )


@dataclass(frozen=True)
class _Gathered:
    """Objects of one way of decoding, as in `Objects`.

    Attributes:
        images: of the part.
        image: of each row.
        count: its texts.
    """

    method: str
    images: frozenset[str]
    count: int
    image: list[str]
    name: np.ndarray
    y: np.ndarray
    token: np.ndarray
    values: np.ndarray
    margin: np.ndarray
    layers: tuple[int, ...]


def _gathered(lab: Lab, part: Part, method: str, traced: bool, ask: bool) -> _Gathered:
    changes: dict[str, Any] = {} if part.spec is None else {"labels": part.spec, "n": part.pictures, "among": []}
    texts = lab.texts(method, **changes)
    kept = [text for text in texts if part.spec is not None or text.image in part.images]
    images = frozenset(text.image for text in kept)
    if traced:
        table = _traced(lab, method, changes)
        table = table.take(np.array([texts[number].image in images for number in table.text.tolist()], dtype=bool))
        image, name, y = [texts[number].image for number in table.text.tolist()], table.name, table.hallucinated
        token, layers = table.token_id.astype(np.int64), tuple(table.layers)
        values = np.concatenate([table.extra[PREFIX + group] for group in CAUSAL], axis=1).astype(np.float64)
    else:
        firsts = [(text, span) for text in kept for span in text.spans if span.first]
        image, layers = [text.image for text, _ in firsts], ()
        name = np.array([span.name for _, span in firsts], dtype=object)
        y = np.array([span.hallucinated for _, span in firsts], dtype=bool)
        token, values = np.zeros(len(firsts), dtype=np.int64), np.zeros((len(firsts), 0))
    margin = np.full(len(y), np.nan)
    if ask:
        file = lab.kept / "asked" / f"{digest(lab.fingerprint, sorted(images))}.jsonl"
        label = f"questions, {part.name}"
        answers = self_check(lab.reader, kept, file, listener=lab.listener, label=label, pool=lab.pool)
        if answers is not None:
            margin = np.array([-answers[pair] for pair in zip(image, name.tolist(), strict=True)]).reshape(len(y))
    return _Gathered(method, images, len(kept), image, name, y, token, values, margin, layers)


def _causal_features(decoder: Any, inputs: Any, trace: Any) -> dict[str, np.ndarray]:
    return {PREFIX + name: values for name, values in of_trace(trace, groups=CAUSAL).items()}


def _traced(lab: Lab, method: str, changes: dict[str, Any]) -> TokenTable:
    """The first mentions in the texts, with the causal features of each."""
    return lab.tokens(method, extra=_causal_features, name=digest("causal 1", list(CAUSAL)), **changes).mentions(
        first=True
    )
