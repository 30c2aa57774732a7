"""Asking the model whether something is in its picture, over the part of the prompt's cache that a question shares.

A question about the picture and the prompt begin alike, up to the picture's end. Its keys and values are in the text's
cache already, so a question costs one pass over its own few words; the text's cache is read and never written to. Where
the two do not begin alike, or the cache keeps more than columns, the common part is read once for the whole generation
(`Own`); where a prompt's pictures see the words behind them, each question is read whole (`Whole`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.prompts import Prompt
from lvlm_saliency.attention.session import Session
from lvlm_saliency.errors import SettingError
from lvlm_saliency.guard.own_prefix import Own
from lvlm_saliency.guard.wording import Wording, split
from lvlm_saliency.hf import prefixes
from lvlm_saliency.hf.generation import TYPES
from lvlm_saliency.model.regions import padding_id
from lvlm_saliency.risk.asked import question
from lvlm_saliency.tracing.logits import finite_logits

_TRUE: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
"""By model, whether a way to ask gives what reading the whole question gives; found out once, at its first question."""
_CLOSE = {torch.float32: 1e-3, torch.float64: 1e-6}
"""How near the margin of a shared question must come to that of a whole one; other dtypes: `_ROUGH`."""
_ROUGH = 0.5
ROWS = 4
"""Questions in one pass, as a multiple of the texts in the batch."""

Source = Callable[[], tuple[Any, list[int]]]
"""The text's cache as it stands, and how many columns of padding stand left of each sample's prompt in it."""


class Asker:
    """The questions of one generation.

    `kwargs` is the model's keyword state behind the prompt `ids` int64 `[B, n0]`; `given` what the caller passed to
    `generate`, from which the pictures can be read anew; `own`: the text's cache cannot serve (a method has edited the
    prompt's rows, or it holds other rows than the prompts). It counts
    its forward passes, and the questions.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        session: Session,
        ids: Tensor,
        kwargs: dict[str, Any],
        given: dict[str, Any] | None,
        source: Source,
        own: bool,
    ):
        self.model, self.session, self.ids, self.kwargs, self.given = model, session, ids, kwargs, given
        self.source = source
        self.passes = self.asked = 0
        mask = kwargs.get("attention_mask")
        padding = torch.zeros_like(ids, dtype=torch.bool) if mask is None else mask[:, : ids.shape[1]] == 0
        self.starts = padding.sum(1).tolist()
        self.rows = [row[start:] for row, start in zip(ids.tolist(), self.starts, strict=True)]
        self.wording = Wording(model, processor)
        if not all(self.wording.images.intersection(row) for row in self.rows):
            raise SettingError(
                "the guard asks about the picture, and a prompt holds none: set ask=False, or leave the guard out"
            )
        self.spans = [split(row, self.wording.images) for row in self.rows]
        heads = all(row[:first] == self.wording.head for row, (first, _) in zip(self.rows, self.spans, strict=True))
        own = own or hf.is_hybrid(model)
        self.shared = heads and not own and prefixes.holds_all(source()[0])
        self.own: Own | None = None

    def margins(self, wanted: Sequence[tuple[int, str]]) -> list[float]:
        """For (sample, words) the log-odds of no over yes at the first token of the answer to that question.

        Raises:
            SettingError: the question needs the pictures anew, and only their tokens are at hand.
        """
        self.asked += len(wanted)
        found: list[float] = []
        size = ROWS * max(1, len(self.rows))
        with torch.no_grad(), self.alone():
            for start in range(0, len(wanted), size):
                found += self._margins(wanted[start : start + size])
        return found

    def _margins(self, wanted: Sequence[tuple[int, str]]) -> list[float]:
        way = "shared" if self.shared else "own"
        known = _TRUE.setdefault(self.model, {})
        if known.get(way) is False:
            return self._whole(wanted)
        odds = self._shared(wanted) if self.shared else self._own(wanted)
        if way not in known:
            # A prompt that is read in both directions makes other keys of its pictures for every question. No
            # configuration says so in a way that all families share, so one question is read whole to find out.
            close = _CLOSE.get(self.model.dtype, _ROUGH)
            known[way] = abs(self._whole(wanted[:1])[0] - odds[0]) <= close
            return odds if known[way] else self._whole(wanted)
        return odds

    @property
    def shares(self) -> bool:
        """Whether a question is read over the texts' own cache, and that has been found to give the right answer."""
        if self.shared and "shared" not in _TRUE.get(self.model, {}):
            self.margins([(0, question("dog"))])
        return self.shared and _TRUE[self.model]["shared"]

    def alone(self) -> AbstractContextManager:
        """Inside the block no method edits attention and nothing is captured: what is asked is asked of the model."""
        return _without_methods(self.session)

    # --- three ways to ask ---

    def _shared(self, wanted: Sequence[tuple[int, str]]) -> list[float]:
        logits, last = self.behind([(sample, self.wording.tail(words)) for sample, words in wanted])
        return self.odds(logits[torch.arange(len(last), device=logits.device), last.to(logits.device)]).tolist()

    def behind(self, wanted: Sequence[tuple[int, list[int]]], last: int = 1) -> tuple[Tensor, Tensor]:
        """For (sample, ids behind its last image token) the logits `[Q, T, V]` of their last tokens (at least `last`),
        over the text's cache, and where in them each row's last token stands, int64 `[Q]`."""
        cache, shifts = self.source()
        tails, starts, ends = [], [], []
        for sample, tail in wanted:
            behind = self.rows[sample][self.spans[sample][1] :]
            alike = min(_alike(tail, behind), len(tail) - last)  # at least one token is fed: behind it is the answer
            tails.append(tail[alike:])
            starts.append(self.starts[sample])
            ends.append(self.starts[sample] + self.spans[sample][1] + alike)
        rows = torch.tensor([sample for sample, _ in wanted], device=self.ids.device)
        shift = [shifts[sample] for sample, _ in wanted]
        taken = prefixes.stretch(
            cache,
            rows,
            [a + s for a, s in zip(starts, shift, strict=True)],
            [b + s for b, s in zip(ends, shift, strict=True)],
        )
        kwargs = hf.row_inputs(hf.cut(self.kwargs, hf.PER_TOKEN, slice(0, self.ids.shape[1])), rows, len(self.ids))
        return self._fed(taken, self.ids[rows], kwargs, starts, ends, tails)

    def _own(self, wanted: Sequence[tuple[int, str]]) -> list[float]:
        if self.own is None:
            self.own = Own(self)
        return self.own.margins(wanted)

    def _whole(self, wanted: Sequence[tuple[int, str]]) -> list[float]:
        """Every question with its pictures: as many rounds as any one sample has questions."""
        waiting: dict[int, list[tuple[int, str]]] = {}
        for number, (sample, words) in enumerate(wanted):
            waiting.setdefault(sample, []).append((number, words))
        found = [0.0] * len(wanted)
        fill = wanted[0][1]
        for turn in range(max(map(len, waiting.values()))):
            here = {sample: some[turn] for sample, some in waiting.items() if turn < len(some)}
            tails = [self.wording.tail(here[s][1] if s in here else fill) for s in range(len(self.rows))]
            inputs = self.prompts(tails)
            ids, _, kwargs = hf.prepared_alone(self.model, inputs, 1, 1, use_cache=False)
            prompt = Prompt.read(self.model, ids, kwargs.get("attention_mask"), ids.shape[1])
            with hf.offsets_kept(self.model), self.session.acting_on(prompt):
                out = self.model(**hf.prefill_inputs(self.model, ids, kwargs), return_dict=True)
            self.passes += 1
            odds = self.odds(out.logits[:, -1]).tolist()
            for sample, (number, _) in here.items():
                found[number] = odds[sample]
        return found

    # --- their parts ---

    def odds(self, logits: Tensor) -> Tensor:
        """log p(no) - log p(yes), `[R]`, of logits `[R, V]`, over every way to begin either."""
        logits = finite_logits(logits)
        return logits[:, self.wording.no].logsumexp(-1) - logits[:, self.wording.yes].logsumexp(-1)

    def _fed(self, cache, ids: Tensor, kwargs: dict, starts: list[int], ends: list[int], tails: list[list[int]]):
        """The logits behind `tails` over the columns `starts` to `ends` of the rows of ids `[Q, n0]`."""
        width, new = max(end - start for start, end in zip(starts, ends, strict=True)), max(map(len, tails))
        columns = torch.arange(width, device=ids.device)[None] - width + torch.tensor(ends, device=ids.device)[:, None]
        columns = columns.masked_fill(columns < torch.tensor(starts, device=ids.device)[:, None], -1)
        kwargs = hf.extended(self.model, {}, hf.moved(kwargs, columns), new)
        fed = torch.tensor([tail + [tail[-1]] * (new - len(tail)) for tail in tails], device=ids.device)
        ids = torch.cat([ids.gather(1, columns.clamp_min(0)), fed], dim=1)
        inputs = hf.next_inputs(self.model, ids, new, {**kwargs, hf.CACHE: cache})
        if "logits_to_keep" in inputs:
            inputs["logits_to_keep"] = new
        prompt = Prompt.read(self.model, ids, kwargs.get("attention_mask"), ids.shape[1])
        with self.session.acting_on(prompt):
            logits = self.model(**inputs, return_dict=True).logits[:, -new:]
        self.passes += 1
        return logits, torch.tensor([len(tail) - 1 for tail in tails])

    def prompts(self, tails: Sequence[list[int]]) -> dict:
        """Inputs of every sample's pictures in the question's own template, with these ids behind them.

        Raises:
            SettingError: the pictures are not at hand.
        """
        if self.given is None:
            raise SettingError(
                "the guard's questions need the pictures: call lvlm_saliency.generate, not custom_generate"
            )
        head, per_token = self.wording.head, {}
        rows = [
            [*head, *row[first:end], *tail]
            for row, (first, end), tail in zip(self.rows, self.spans, tails, strict=True)
        ]
        repeat = len(self.rows) // len(self.given["input_ids"])
        rows, spans = rows[::repeat], self.spans[::repeat]
        width, device = max(map(len, rows)), self.given["input_ids"].device
        ids = torch.full((len(rows), width), padding_id(self.model) or 0, device=device)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, width - len(row) :] = torch.tensor(row, device=device)
            mask[place, width - len(row) :] = 1
        for name in TYPES:
            if isinstance(types := self.given.get(name), Tensor):
                made = types.new_zeros((len(rows), width))
                for place, (row, (first, end)) in enumerate(zip(rows, spans, strict=True)):
                    at = width - len(row) + len(head)
                    start = self.starts[place * repeat]
                    made[place, at : at + end - first] = types[place, start + first : start + end]
                per_token[name] = made
        dropped = {*hf.PER_TOKEN, "input_ids", *TYPES, "cache_position"}
        rest = {name: value for name, value in self.given.items() if name not in dropped}
        return {**hf.without_cache(rest)[0], "input_ids": ids, "attention_mask": mask, **per_token}


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    shorter = min(len(one), len(other))
    return next((n for n in range(shorter) if one[n] != other[n]), shorter)


class _without_methods(AbstractContextManager):
    def __init__(self, session: Session):
        self.session = session

    def __enter__(self) -> None:
        self.before = self.session.editors, self.session.capture
        self.session.editors, self.session.capture = (), None

    def __exit__(self, *error) -> None:
        self.session.editors, self.session.capture = self.before
