"""The table of tokens: for every generated token of many texts, its figures from a trace and its label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.studies.texts import LabelledText

REGIONS = ("output", "previous", "image", "prompt", "system")
MEASURES = ("saliency", "attention")


@dataclass(frozen=True)
class TokenTable:
    """N tokens of some texts. All arrays share their first axis.

    Attributes:
        text: int `[N]`, which of `texts`.
        position: int `[N]`, number of the token in its text, from 0.
        token_id: int `[N]`.
        logprob, entropy: float32 `[N]`, nats, under the model's own distribution.
        saliency, attention: float32 `[N, len(layers), len(REGIONS)]`, the mean over each region of that layer's row
            (NaN for an empty region), saliency with unit L2 norm per row.
        span: int `[N]`, which span of its text the token belongs to, -1 for none.
        opens: bool `[N]`, the token is the first of its span (the one that decides on the word).
        extra: further `[N, ...]` arrays.
    """

    layers: list[int]
    texts: Sequence[LabelledText]
    text: np.ndarray
    position: np.ndarray
    token_id: np.ndarray
    logprob: np.ndarray
    entropy: np.ndarray
    saliency: np.ndarray
    attention: np.ndarray
    span: np.ndarray
    opens: np.ndarray
    extra: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.text)

    def take(self, rows: np.ndarray) -> TokenTable:
        """The table of these rows (a mask or numbers)."""
        arrays = {name: getattr(self, name)[rows] for name in ARRAYS}
        return replace(self, **arrays, extra={name: values[rows] for name, values in self.extra.items()})

    def mentions(self, *, first: bool | None = None) -> TokenTable:
        """One row per object word, its opening token; `first`: only first mentions, or only repeated ones."""
        rows = self.take(self.opens & (self.span >= 0))
        return rows if first is None else rows.take(rows.first == first)

    @property
    def hallucinated(self) -> np.ndarray:
        """bool `[N]`: the token belongs to a hallucinated word."""
        return self._of_spans("hallucinated", False)

    @property
    def first(self) -> np.ndarray:
        """bool `[N]`: the token belongs to a word that names its object for the first time."""
        return self._of_spans("first", False)

    @property
    def name(self) -> np.ndarray:
        """object `[N]`: what the word names, "" outside of spans."""
        return self._of_spans("name", "")

    @property
    def group(self) -> np.ndarray:
        """int `[N]`: number of the picture; what intervals resample and splits keep together."""
        numbers = {image: i for i, image in enumerate(dict.fromkeys(text.image for text in self.texts))}
        of_text = np.array([numbers[text.image] for text in self.texts], dtype=np.int64)
        return of_text[self.text]

    @property
    def length(self) -> np.ndarray:
        """int `[N]`: tokens in the token's text."""
        return np.array([len(text.token_ids) for text in self.texts], dtype=np.int64)[self.text]

    def score(
        self, region: str = "output", measure: str = "saliency", layers: Sequence[int] | None = None
    ) -> np.ndarray:
        """float32 `[N]`: mean of `measure` over a region and over layers (default all); NaN for an empty region.

        Raises:
            SettingError: an unknown region or measure, or a layer that was not traced.
        """
        for known, given in ((REGIONS, region), (MEASURES, measure)):
            if given not in known:
                raise SettingError(f"unknown {given!r}{did_you_mean(given, known)}")
        missing = [layer for layer in layers or () if layer not in self.layers]
        if missing:
            raise SettingError(f"layers {missing} were not traced; traced: {self.layers}")
        index = [self.layers.index(layer) for layer in (self.layers if layers is None else layers)]
        return getattr(self, measure)[:, index, REGIONS.index(region)].mean(axis=1)

    def _of_spans(self, name: str, outside: Any) -> np.ndarray:
        values = [
            outside if span < 0 else getattr(self.texts[text].spans[span], name)
            for text, span in zip(self.text.tolist(), self.span.tolist(), strict=True)
        ]
        return np.array(values, dtype=bool if isinstance(outside, bool) else object)


ARRAYS = ("text", "position", "token_id", "logprob", "entropy", "saliency", "attention", "span", "opens")


def layer_groups(layers: Sequence[int], groups: int = 3) -> dict[str, list[int]]:
    """The layers in consecutive groups of like size, named by their numbers, lowest first."""
    parts = [part.tolist() for part in np.array_split(np.array(list(layers)), min(groups, len(layers)))]
    return {(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0])): part for part in parts}
