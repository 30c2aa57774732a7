"""What is learned from: every object of every text, as it is named for the first time, with its features and answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED
from lvlm_saliency.risk.fitting import Data
from lvlm_saliency.risk.signals import CAUSAL, names_of, of_trace
from lvlm_saliency.studies.calibrate.parts import FIT, Part
from lvlm_saliency.studies.collect import digest
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.self_check import self_check
from lvlm_saliency.studies.texts import LabelledText
from lvlm_saliency.studies.tokens import TokenTable

PREFIX = "causal: "


@dataclass(frozen=True)
class Objects:
    """N objects, each at its first mention in its text.

    values: float64 `[N, F]`, features of `CAUSAL`; margin: float64 `[N]`, log-odds of no over yes when the model is
    asked about it (NaN where nobody could ask); y: bool `[N]`, absent; name: object `[N]`; picture: int `[N]`, which
    picture, from 0; pictures: how many there are, those whose texts name nothing too; greedy: bool `[N]`, in greedy (or
    given) texts; token: int `[N]`; layers: that were read; texts: how many.
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


def gather(lab: Lab, part: Part, ask: bool) -> Objects:
    """The objects of a part: in greedy texts, and to learn from in sampled ones as well, which err more often; in the
    user's own texts where they come from a file. `ask`: whether the model is asked about each."""
    methods = [GREEDY, SAMPLED] if part.name == FIT and not lab.from_file else [GREEDY]
    found = [_gathered(lab, part, method, ask) for method in methods]
    images = sorted({image for one in found for image in one.images})
    numbers = {image: number for number, image in enumerate(images)}
    return Objects(
        values=np.concatenate([one.values for one in found]),
        margin=np.concatenate([one.margin for one in found]),
        y=np.concatenate([one.table.hallucinated for one in found]),
        name=np.concatenate([one.table.name for one in found]),
        picture=np.array([numbers[image] for one in found for image in one.image_of_each()], dtype=np.int64),
        pictures=len(images),
        greedy=np.concatenate([np.full(len(one.table), one.method == GREEDY) for one in found]),
        token=np.concatenate([one.table.token_id for one in found]).astype(np.int64),
        layers=tuple(found[0].table.layers),
        texts=sum(one.count for one in found),
    )


@dataclass(frozen=True)
class _Gathered:
    """One way of decoding. texts: those that the table's rows number; images: of the part; count: its texts."""

    method: str
    texts: Sequence[LabelledText]
    images: frozenset[str]
    count: int
    table: TokenTable
    values: np.ndarray
    margin: np.ndarray

    def image_of_each(self) -> Iterator[str]:
        return (self.texts[number].image for number in self.table.text.tolist())


def _gathered(lab: Lab, part: Part, method: str, ask: bool) -> _Gathered:
    def extra(inputs, trace) -> dict[str, np.ndarray]:
        return {PREFIX + name: values for name, values in of_trace(trace, groups=CAUSAL).items()}

    changes = {} if part.spec is None else {"labels": part.spec, "n": part.pictures, "among": []}
    texts = lab.texts(method, **changes)
    table = lab.tokens(method, extra=extra, name=digest("causal 1", list(CAUSAL)), **changes).mentions(first=True)
    kept = [text for text in texts if part.spec is not None or text.image in part.images]
    images = frozenset(text.image for text in kept)
    table = table.take(np.array([texts[number].image in images for number in table.text.tolist()], dtype=bool))
    margin = np.full(len(table), np.nan)
    if ask:
        file = lab.kept / "asked" / f"{digest(lab.fingerprint, sorted(images))}.jsonl"
        answers = self_check(lab.decoder, kept, file, listener=lab.listener, label=f"questions, {part.name}")
        if answers is not None:
            pairs = zip(table.text.tolist(), table.name.tolist(), strict=True)
            margin = np.array([-answers[texts[number].image, name] for number, name in pairs]).reshape(len(table))
    values = np.concatenate([table.extra[PREFIX + name] for name in CAUSAL], axis=1).astype(np.float64)
    return _Gathered(method, texts, images, len(kept), table, values, margin)
