"""`Reading`: what was captured of one text for detectors, as numpy arrays without padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlm_saliency.detection.base import Depth
from lvlm_saliency.errors import SettingError

if TYPE_CHECKING:
    from lvlm_saliency.tracing.result import SaliencyTrace


@dataclass(frozen=True)
class LensOf:
    """The head on some positions' states, for chosen tokens only.

    Attributes:
        ids: int64 `[K]`, ascending; logits: float32 `[P, K]`, times the factor; size: `[P]`, log-sum-exp over the whole
            vocabulary; top: int64 `[P]`, the token of the largest logit; least: `[P]`, the 50th largest logit;
            kept: `[P]`, log-sum-exp of the 50 largest.
    """

    ids: np.ndarray
    logits: np.ndarray
    size: np.ndarray
    top: np.ndarray
    least: np.ndarray
    kept: np.ndarray

    def of(self, token: int) -> np.ndarray | None:
        """The logits `[P]` of a token; None where it was not asked for."""
        at = int(np.searchsorted(self.ids, token))
        return self.logits[:, at] if at < len(self.ids) and self.ids[at] == token else None

    def log_p(self, token: int) -> np.ndarray | None:
        """Its log-probability `[P]`."""
        found = self.of(token)
        return None if found is None else found - self.size


@dataclass
class Reading:
    """One text as its model saw it: `n0` prompt tokens (pictures expanded, padding taken out), `T` answer tokens.

    Row r of the answer's states stands at position n0 - 1 + r: r = 0 is the last prompt token, row t predicts answer
    token t (P), row t + 1 is at it (A). Only `rows` of them are kept.

    Attributes:
        ids: int64 `[n0 + T]`; prompt: n0; image: int64 `[I]`, positions of the picture's tokens, ascending.
        depth: the model's layers. architecture: as risk models name it (`risk.model.architecture`); None where the
            model is not known.
        rows: int64 `[R]`, which rows were kept, ascending.
        logprob, entropy, margin: float64 `[T]`, nats, of each answer token under the model's own distribution; margin
            is log p less that of the best other token. None where not captured (so for all that follows).
        surprise: `[R, 3]`, of the 100 largest logits of each row: entropy, largest logit, largest softmax.
        attention: layer to float32 `[H, R, n0 + T]`, post-softmax; averaged: whether heads were averaged (H = 1).
        chain: layer to float32 `[H, 2, T + 1]`: each row's attention to its own position, and to the one before.
        text: hidden state to float32 `[R, D]`; image_states: `[I, D]`; prompt_states: `[B, D]`, of the prompt's tokens
            after the picture, and of a thinking after those. Index 0 is the embeddings, L the last state after the
            final norm.
        image_lens, prompt_lens: (hidden state, factor) to `LensOf`.
        text_top, text_entropy: `[R, L]`, of the lens of every layer.
        unembedding, embedding: token id to float32 `[D]`.
        tiles: where the picture's tokens lie: arrays `[height, width]` of indices into `image`.
        pictures: how many pictures the prompt has, where `tiles` are known.
        extra: by name, what further passes found.
        piece: token id to its text. tied: whether input and output embeddings are one. max_new_tokens: the limit that
            the text was written under, where known.
        trace, sample: the saliency trace, and which of its texts this is; scores: what was read off it, by name.
        answers: of a text that thinks, where it answers, as (first token, one past the last); None for one answer.
            by_answer: the readings of those, as `detection.answers` makes them.
    """

    ids: np.ndarray
    prompt: int
    image: np.ndarray
    depth: Depth
    rows: np.ndarray
    logprob: np.ndarray | None = None
    entropy: np.ndarray | None = None
    margin: np.ndarray | None = None
    surprise: np.ndarray | None = None
    attention: dict[int, np.ndarray] = field(default_factory=dict)
    averaged: bool = False
    chain: dict[int, np.ndarray] = field(default_factory=dict)
    text: dict[int, np.ndarray] = field(default_factory=dict)
    image_states: dict[int, np.ndarray] = field(default_factory=dict)
    prompt_states: dict[int, np.ndarray] = field(default_factory=dict)
    image_lens: dict[tuple[int, float], LensOf] = field(default_factory=dict)
    prompt_lens: dict[tuple[int, float], LensOf] = field(default_factory=dict)
    text_top: np.ndarray | None = None
    text_entropy: np.ndarray | None = None
    unembedding: dict[int, np.ndarray] = field(default_factory=dict)
    embedding: dict[int, np.ndarray] = field(default_factory=dict)
    tiles: Sequence[np.ndarray] | None = None
    pictures: int = 1
    extra: dict[str, Any] = field(default_factory=dict)
    piece: Mapping[int, str] | None = None
    tied: bool = False
    max_new_tokens: int | None = None
    trace: SaliencyTrace | None = None
    sample: int = 0
    scores: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    answers: Sequence[tuple[int, int]] | None = None
    architecture: Mapping[str, Any] | None = None
    by_answer: dict[tuple[int, int], Reading] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"Reading(prompt={self.prompt}, tokens={self.count}, image={len(self.image)}, rows={len(self.rows)})"

    @classmethod
    def of_trace(cls, trace: SaliencyTrace, sample: int = 0) -> Reading:
        """The reading of one text of a saliency trace: log p, entropy, attention averaged over heads, at P."""
        from lvlm_saliency.tracing.answers import answer_spans

        regions = trace.regions
        keep = ~regions.padding[sample].numpy()
        keep[trace.prompt_length :] = trace.valid[sample].numpy()
        count = int(trace.valid[sample].sum())
        positions = np.flatnonzero(keep)
        columns = positions[positions < trace.attention.shape[-1]]
        width = len(positions)
        rows = trace.attention[sample][:, :count].numpy()  # [layers, T, N - 1]
        laid = np.zeros((len(trace.layers), 1, count, width), dtype=np.float32)
        laid[:, 0, :, : len(columns)] = rows[:, :, columns]
        depth = Depth(max(trace.layers) + 1, tuple(trace.layers))
        return cls(
            ids=trace.sequences[sample].numpy()[keep],
            prompt=width - count,
            image=np.flatnonzero(regions.image[sample].numpy()[keep]),
            depth=depth,
            rows=np.arange(count),
            logprob=trace.logprobs[sample, :count].double().numpy(),
            entropy=trace.entropy[sample, :count].double().numpy(),
            attention=dict(zip(trace.layers, laid, strict=True)),
            averaged=True,
            trace=trace,
            sample=sample,
            answers=None if trace.parts is None else answer_spans(trace, sample),
        )

    @property
    def count(self) -> int:
        """T, the answer's tokens."""
        return len(self.ids) - self.prompt

    @property
    def answer(self) -> np.ndarray:
        """int64 `[T]`: the answer's token ids."""
        return self.ids[self.prompt :]

    @cached_property
    def _kept(self) -> dict[int, int]:
        return {int(row): at for at, row in enumerate(self.rows)}

    def index(self, row: int) -> int:
        """Where a row stands among the kept ones.

        Raises:
            SettingError: it was not kept.
        """
        if row not in self._kept:
            raise SettingError(
                f"the state after token {row - 1} of the answer was not captured (a trace ends before the last token; "
                "a reading keeps the words that it was told): make the reading with that word among its mentions"
            )
        return self._kept[row]

    def attended(self, layer: int, row: int) -> np.ndarray:
        """float64 `[H, n0 - 1 + row + 1]`: the attention of a row over what it sees, all heads."""
        rows = self.part("attention", layer, f"attention of layer {layer}")
        return rows[:, self.index(row), : self.prompt + row].astype(np.float64)

    def headwise(self, layer: int, row: int) -> np.ndarray:
        """`attended`, where heads matter one by one.

        Raises:
            SettingError: they were averaged.
        """
        if self.averaged:
            raise SettingError("a trace holds attention averaged over heads, and this detector reads each head: " + HOW)
        return self.attended(layer, row)

    def state(self, index: int, row: int) -> np.ndarray:
        """float64 `[D]`: a hidden state at a row."""
        return self.part("text", index, f"hidden state {index} of the text")[self.index(row)].astype(np.float64)

    def patches(self, index: int) -> np.ndarray:
        """float64 `[I, D]`: a hidden state at the picture's tokens."""
        return self.part("image_states", index, f"hidden state {index} of the picture").astype(np.float64)

    def part(self, name: str, key: Any, told: str) -> Any:
        """An entry of what was captured.

        Raises:
            SettingError: it was not captured.
        """
        held = getattr(self, name)
        if held is None or (isinstance(held, dict) and key not in held):
            raise SettingError(f"this reading holds no {told}: {HOW}")
        return held[key] if isinstance(held, dict) else held


HOW = "make one with lvlm_saliency.reading(model, inputs, sequences, detectors=[...]), naming the detector"
