"""The rows that risk is learned from and judged on: mentions of objects, with every group of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lvlm_saliency.evaluation.decoding import Decoder
from lvlm_saliency.risk.fitting import Data
from lvlm_saliency.risk.passes import of_passes
from lvlm_saliency.risk.signals import FREE, names_of, of_trace
from lvlm_saliency.studies.collect import digest
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.self_check import self_check
from lvlm_saliency.studies.texts import LabelledText
from lvlm_saliency.studies.tokens import TokenTable
from lvlm_saliency.tracing.result import SaliencyTrace

COSTS = {
    **dict.fromkeys(FREE, "none: the trace has it"),
    "runner-up": "one more pass over the text",
    "hidden state, before": "the same pass",
    "hidden state, at": "the same pass",
    "blank picture": "one more pass over the text, with a blank picture",
    "self-check": "one short pass per object named",
}
"""Every group and what it costs beyond a trace, in the order of pages."""
PREFIX = "risk: "
NEAR = (-2, -1, 0, 1, 2, 3, 4, 5, 6)
"""The tokens whose words are the control: what a reader of the text alone could know."""


@dataclass(frozen=True)
class Mentions:
    """N mentions of objects.

    Attributes:
        groups: name to float `[N, F]`.
        y: bool `[N]`, hallucinated.
        first: bool `[N]`, named for the first time.
        picture: object `[N]`, the pictures' names.
        position: int `[N]`, number of the token in its text.
        wording: int `[N, len(NEAR)]`, the tokens near it (-1: none).
        source: int `[N]`, which way of decoding wrote it.
        layers: those that were traced.
    """

    groups: Mapping[str, np.ndarray]
    y: np.ndarray
    first: np.ndarray
    picture: np.ndarray
    position: np.ndarray
    wording: np.ndarray
    source: np.ndarray
    layers: Sequence[int]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def token(self) -> np.ndarray:
        """int `[N]`: the token itself."""
        return self.wording[:, NEAR.index(0)]

    @property
    def strata(self) -> np.ndarray:
        """int `[N]`: equal where position and way of decoding are."""
        return self.position * (self.source.max(initial=0) + 1) + self.source

    @property
    def pictures(self) -> int:
        """How many pictures these mentions are from."""
        return len(set(self.picture))

    def matrix(self, groups: Sequence[str]) -> np.ndarray:
        """The features of these groups side by side, float64 `[N, F]`."""
        return np.concatenate([self.groups[name] for name in groups], axis=1).astype(np.float64)

    def names(self, groups: Sequence[str]) -> list[str]:
        """The features' names."""
        found = []
        for name in groups:
            width = self.groups[name].shape[1]
            found += names_of(name, self.layers) if name in FREE else [f"{name} {i}" for i in range(width)]
        return found

    def data(self, groups: Sequence[str]) -> Data:
        """Ready to be learned from."""
        return Data(self.matrix(groups), self.y, numbered(self.picture), self.names(groups))

    def take(self, rows: np.ndarray) -> Mentions:
        """Some of the rows (a mask or numbers)."""
        cut = {name: getattr(self, name)[rows] for name in ROWS}
        return Mentions({name: values[rows] for name, values in self.groups.items()}, **cut, layers=self.layers)


ROWS = ("y", "first", "picture", "position", "wording", "source")


def joined(parts: Sequence[Mentions]) -> Mentions:
    """Mentions of several ways of decoding as one; `source` numbers the parts."""
    rows = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ROWS}
    rows["source"] = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    names = [name for name in parts[0].groups if all(name in part.groups for part in parts)]
    groups = {name: np.concatenate([part.groups[name] for part in parts]) for name in names}
    return Mentions(groups, **rows, layers=parts[0].layers)


def numbered(names: np.ndarray) -> np.ndarray:
    """int `[N]`: equal names have equal numbers."""
    return np.unique(names, return_inverse=True)[1]


def gather(
    lab: Lab,
    method: str,
    *,
    richer: bool = True,
    objects: np.ndarray,
    among: Sequence[str] | None = None,
    **changes: Any,
) -> Mentions:
    """Mentions in what the model writes under `method`, in the evaluation run of `among` (see `Lab.texts`).

    Args:
        richer: collect also the groups that cost passes of their own.
        objects: tokens that begin object words (`opening_tokens`): the runner-ups that count.
        changes: settings of the run, as for `Lab.texts`.
    """
    texts = lab.texts(method, among=among, **changes)

    kept = digest("risk 2", richer, objects.tolist() if richer else [])
    extra = partial(_features, richer, objects)
    table = lab.tokens(method, extra=extra, name=kept, among=among, **changes).mentions()
    groups = {name.removeprefix(PREFIX): values for name, values in table.extra.items() if name.startswith(PREFIX)}
    if richer:
        answers = self_check(
            lab.reader,
            texts,
            lab.kept / "asked" / f"{digest(lab.fingerprint, sorted({text.image for text in texts}))}.jsonl",
            listener=lab.listener,
            label=f"self-check of {method} texts",
            pool=lab.pool,
        )
        if answers is not None:
            groups["self-check"] = np.array([[answers[pair]] for pair in pairs_of(table)]).reshape(len(table), 1)
    return Mentions(
        {name: groups[name] for name in COSTS if name in groups},
        y=table.hallucinated,
        first=table.first,
        picture=np.array([texts[number].image for number in table.text], dtype=object),
        position=table.position,
        wording=_wording(table),
        source=np.zeros(len(table), dtype=np.int64),
        layers=table.layers,
    )


def _wording(table: TokenTable) -> np.ndarray:
    """int `[N, len(NEAR)]`: the tokens around each."""
    found = np.full((len(table), len(NEAR)), -1, dtype=np.int64)
    for row, (text, at) in enumerate(zip(table.text.tolist(), table.position.tolist(), strict=True)):
        ids = table.texts[text].token_ids
        found[row] = [ids[at + shift] if 0 <= at + shift < len(ids) else -1 for shift in NEAR]
    return found


def pairs_of(table: TokenTable) -> list[tuple[str, str]]:
    """(picture, object) of every mention."""
    return [
        (table.texts[text].image, table.texts[text].spans[span].name)
        for text, span in zip(table.text.tolist(), table.span.tolist(), strict=True)
    ]


def opening_tokens(texts: Sequence[LabelledText]) -> np.ndarray:
    """The tokens that begin object words in these texts, int64 `[K]`, ascending."""
    return np.unique([text.token_ids[span[0]] for text in texts for span in text.span_tokens() if span]).astype(
        np.int64
    )


def _features(richer: bool, objects: np.ndarray, decoder: Decoder, inputs: Any, trace: SaliencyTrace) -> dict[str, Any]:
    """Every group of features of a batch of texts."""
    groups = of_trace(trace)
    if richer:
        groups |= of_passes(decoder.model, inputs, trace, objects)
    return {PREFIX + name: values for name, values in groups.items()}
