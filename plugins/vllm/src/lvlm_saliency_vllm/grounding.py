"""What a text's tokens depended on: attention by region, log-probability, entropy, and the features of a causal risk.

Names, order and definitions are those of lvlm_saliency (`SaliencyTrace.attention_scores`, its risk features), so that a
risk model fitted there reads what is measured here. numpy alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlm_saliency_vllm.readings import READ, REGIONS

LANGUAGE = ("output", "previous", "prompt", "system")
BEFORE = 2
"""How many tokens before count: the words that led to this one."""
CHOSEN = (
    "log-probability",
    "entropy",
    "position",
    "repetition",
    "attention",
    "attention concentration",
    "words before",
)
"""The groups of features that are known when a token is chosen."""
FED = ("attention, at", "attention concentration, at", "entropy, at")
"""Those of the token's own row, known one pass later, when the token has been fed."""
GROUPS = (*CHOSEN, *FED)
"""All that forward passes give in time: a causal risk may read these and no others."""


class GroundingError(ValueError):
    """Readings that are not there or do not fit their text; the line says why."""


@dataclass(frozen=True)
class TokenGrounding:
    """Readings of the T tokens of one text, each from the row that predicts it, under the settings it was served with.

    token_ids: the tokens. logprobs, entropy: float64 `[T]`, nats, of the model's own distribution. layers: the L
    decoder layers that were read. rows: float32 `[T, L, len(READ)]`: sums of the head-mean attention over each region,
    the weight of the token before, and over the image the entropy of the shares (0 to 1) and the largest (NaN where
    there is none). prompt: n0; regions: positions of the prompt in "system", "image" and "prompt".
    """

    token_ids: tuple[int, ...]
    logprobs: np.ndarray
    entropy: np.ndarray
    layers: tuple[int, ...]
    rows: np.ndarray
    prompt: int
    regions: tuple[int, int, int]

    @classmethod
    def of(cls, token_ids: Sequence[int], logprobs: Sequence[float], read: Mapping[str, Any]) -> TokenGrounding:
        """From the tokens, their log-probabilities and what a worker's store says (`Store.read` from its first token).

        Raises:
            GroundingError: the store has a fault to tell, or fewer rows than there are tokens.
        """
        if read.get("fault"):
            raise GroundingError(read["fault"])
        count = len(token_ids)
        if len(read["rows"]) < count or len(logprobs) != count:
            raise GroundingError(
                f"{count} tokens, {len(read['rows'])} rows and {len(logprobs)} log-probabilities: they are not one text"
            )
        # vLLM may run a step beyond the end of a text before it hears of the end.
        shape = (count, len(read["layers"]), len(READ))
        rows = np.array(read["rows"][:count], dtype=np.float32).reshape(shape)
        return cls(
            tuple(token_ids),
            np.array(logprobs, dtype=np.float64),
            np.array(read["entropy"][:count], dtype=np.float64),
            tuple(read["layers"]),
            rows,
            read["prompt"],
            tuple(read["regions"]),
        )

    def attention(self, region: str, layers: Sequence[int] | None = None) -> np.ndarray:
        """The share of attention that goes to a region (`REGIONS`, or "previous"), mean over layers: float32 `[T]`."""
        return self.rows[:, self._axes(layers), READ.index(region)].mean(axis=1)

    def attention_scores(self, region: str, layers: Sequence[int] | None = None) -> np.ndarray:
        """Mean attention per position of a region, float32 `[T]`, NaN where it is empty: as in a trace."""
        count = np.arange(len(self.token_ids), dtype=np.float32)
        if region == "previous":
            sizes = np.ones_like(count)
        else:
            sizes = count if region == "output" else np.full_like(count, self.regions[REGIONS.index(region)])
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(sizes > 0, self.attention(region, layers) / sizes, np.nan)

    def features(self, groups: Sequence[str] = GROUPS, layers: Sequence[int] | None = None) -> np.ndarray:
        """Groups of features side by side, float64 `[T, F]`, NaN where missing; `feature_names` lists the columns.

        Raises:
            GroundingError: a group that forward passes do not know as the text is written, or a layer not read.
        """
        layers = self.layers if layers is None else tuple(layers)
        return np.concatenate([self._group(name, layers) for name in groups], axis=1).astype(np.float64)

    def _group(self, name: str, layers: Sequence[int]) -> np.ndarray:
        if name in FED:  # the row of the token itself is that which predicts the next; the last has none
            own = self._group(name.removesuffix(", at"), layers)
            return np.concatenate([own[1:], np.full_like(own[:1], np.nan)])
        place = np.arange(len(self.token_ids), dtype=np.float32)
        makers: dict[str, Callable[[], np.ndarray]] = {
            "log-probability": lambda: self.logprobs[:, None],
            "entropy": lambda: self.entropy[:, None],
            "position": lambda: np.stack([place, np.log1p(place)], axis=1),
            "repetition": self._repetition,
            "attention": lambda: self._attention(layers),
            "attention concentration": lambda: self._concentration(layers),
            "words before": self._words_before,
        }
        if name not in makers:
            raise GroundingError(
                f"{name[:60]!r} is no group of features that forward passes know as a text is written; "
                f"those are {', '.join(GROUPS)}"
            )
        return makers[name]()

    def _repetition(self) -> np.ndarray:
        ids = np.array(self.token_ids)
        return np.log1p(np.tril(ids[:, None] == ids[None], -1).sum(1, keepdims=True, dtype=np.float32))

    def _attention(self, layers: Sequence[int]) -> np.ndarray:
        scores = [self.attention_scores(region, [one]) for one in layers for region in (*LANGUAGE, "image")]
        return np.log10(np.stack(scores, axis=1) + 1e-6)

    def _concentration(self, layers: Sequence[int]) -> np.ndarray:
        first = READ.index("image entropy")
        return self.rows[:, self._axes(layers), first : first + 2].reshape(len(self.token_ids), -1)

    def _words_before(self) -> np.ndarray:
        surprise = np.stack([self.logprobs, self.entropy], axis=1)
        padded = np.concatenate([np.full((BEFORE, 2), np.nan), surprise])
        return np.concatenate([padded[shift : shift + len(surprise)] for shift in range(BEFORE)], axis=1)

    def _axes(self, layers: Sequence[int] | None) -> list[int]:
        if layers is None:
            return list(range(len(self.layers)))
        if missing := [one for one in layers if one not in self.layers]:
            raise GroundingError(f"layers {missing} were not read; those that were: {list(self.layers)}")
        return [self.layers.index(one) for one in layers]

    def to_dict(self, start: int = 0, stop: int | None = None) -> list[dict[str, Any]]:
        """One plain mapping a token from `start` to `stop`, fit for JSON; attention by region is a mean over layers."""
        shares = {name: self.attention(name) for name in (*REGIONS, "previous")}
        return [
            {
                "token_id": int(self.token_ids[t]),
                "logprob": _plain(self.logprobs[t]),
                "entropy": _plain(self.entropy[t]),
                "attention": {name: _plain(share[t]) for name, share in shares.items()},
            }
            for t in range(start, len(self.token_ids) if stop is None else stop)
        ]


def feature_names(group: str, layers: Sequence[int]) -> list[str]:
    """The columns of a group, for these layers, as lvlm_saliency names them."""
    if group == "entropy, at":
        return ["entropy behind the word"]
    own, group = (", at the word" if group in FED else ""), group.removesuffix(", at") if group in FED else group
    if group == "words before":
        return [f"{kind} of token {shift:+d}" for shift in range(-BEFORE, 0) for kind in ("log p", "entropy")]
    per_layer = {
        "attention": [f"attention on {region}" for region in (*LANGUAGE, "image")],
        "attention concentration": ["entropy of attention over the image", "largest share of attention in it"],
    }
    if group in per_layer:
        return [f"{name}, layer {layer}{own}" for layer in layers for name in per_layer[group]]
    whole = {
        "log-probability": ["log p"],
        "entropy": ["entropy"],
        "position": ["position", "log(1 + position)"],
        "repetition": ["log(1 + times that the token was written before)"],
    }
    if group not in whole:
        raise GroundingError(f"no group of features is named {group[:60]!r}; there are {', '.join(GROUPS)}")
    return whole[group]


def _plain(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
