"""Asks the model whether an object is in its picture, and reuses the part of the prompt's cache that a question shares.

A question about the picture and the prompt have a common beginning, up to the end of the picture. Its keys and values
are in the text's cache already, so a question costs one forward pass over its own few words; the text's cache is only
read. If the two do not begin alike, or the cache holds more than one column per token, the common part is run once for
the whole generation (`Own`). If a prompt's pictures attend to the words after them, each question is run whole
(`Whole`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
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
from lvlm_saliency.model.regions import padding_id
from lvlm_saliency.risk.asked import question
from lvlm_saliency.tracing.logits import finite_logits

_TRUE: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
"""For each model, whether a shared question gives the answer of a whole one; tested once, at the first question."""
_CLOSE = {torch.float32: 1e-3, torch.float64: 1e-6}
"""The largest difference between the margins of a shared and of a whole question; `_ROUGH` for other dtypes."""
_ROUGH = 0.5
ROWS = 4
"""The largest number of questions in one forward pass, as a multiple of the texts in the batch."""

Source = Callable[[], tuple[Any, Mapping[int, tuple[int, int]]]]
"""Gives the present cache of the texts, and for each sample that it holds its row and the columns of padding on the
left of its prompt."""


class Asker:
    """Asks the questions of one generation, and counts them and their forward passes.

    Args:
        session: of the generation.
        ids: the prompts, int64 `[B, n0]`.
        kwargs: the model's keyword state after the prompts.
        given: what the caller passed to `generate`, from which the pictures can be read again; None if not known.
        source: gives the texts' cache.
        own: the texts' cache cannot be used (a method has edited the prompt's rows, or its rows are not the prompts').
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
        """The log-odds of no over yes at the first token of each answer.

        Args:
            wanted: (sample, words of the question) pairs.

        Raises:
            SettingError: the pictures have to be read again, and only their tokens are known.
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
            # With bidirectional attention in the prompt, the keys of the pictures depend on the question. No setting
            # says so in the same way for all families, so one question is run whole to find out.
            close = _CLOSE.get(self.model.dtype, _ROUGH)
            known[way] = abs(self._whole(wanted[:1])[0] - odds[0]) <= close
            return odds if known[way] else self._whole(wanted)
        return odds

    @property
    def shares(self) -> bool:
        """Whether questions run over the texts' own cache, which has been tested to give the right answer."""
        if self.shared and "shared" not in _TRUE.get(self.model, {}):
            self.margins([(min(self.source()[1]), question("dog"))])  # of a sample that is not done yet
        return self.shared and _TRUE[self.model]["shared"]

    def alone(self) -> AbstractContextManager:
        """A block in which no method edits attention and nothing is captured: questions go to the unchanged model."""
        return _without_methods(self.session)

    # --- three ways to ask ---

    def _shared(self, wanted: Sequence[tuple[int, str]]) -> list[float]:
        logits, last = self.behind([(sample, self.wording.tail(words)) for sample, words in wanted])
        return self.odds(logits[torch.arange(len(last), device=logits.device), last.to(logits.device)]).tolist()

    def behind(self, wanted: Sequence[tuple[int, list[int]]], last: int = 1) -> tuple[Tensor, Tensor]:
        """Run ids after the pictures, over the texts' cache.

        Args:
            wanted: (sample, ids after its last image token) pairs.
            last: the smallest number of last tokens whose logits are wanted.

        Returns:
            The logits `[Q, T, V]` of last tokens, and the index of each row's last token in them, int64 `[Q]`.
        """
        cache, places = self.source()
        tails, starts, ends = [], [], []
        for sample, tail in wanted:
            behind = self.rows[sample][self.spans[sample][1] :]
            alike = min(_alike(tail, behind), len(tail) - last)  # at least one token is fed, to predict the answer
            tails.append(tail[alike:])
            starts.append(self.starts[sample])
            ends.append(self.starts[sample] + self.spans[sample][1] + alike)
        rows = torch.tensor([sample for sample, _ in wanted], device=self.ids.device)
        shift = [places[sample][1] for sample, _ in wanted]
        taken = prefixes.stretch(
            cache,
            torch.tensor([places[sample][0] for sample, _ in wanted], device=self.ids.device),
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
        """Run every question with its pictures, in as many rounds as one sample has questions at most."""
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
        """log p(no) - log p(yes), `[R]`, of logits `[R, V]`, over all tokens that may begin either word."""
        logits = finite_logits(logits)
        return logits[:, self.wording.no].logsumexp(-1) - logits[:, self.wording.yes].logsumexp(-1)

    def _fed(self, cache, ids: Tensor, kwargs: dict, starts: list[int], ends: list[int], tails: list[list[int]]):
        """The logits after `tails`, over the columns `starts` to `ends` of the rows of `ids` `[Q, n0]`."""
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
        """Inputs with every sample's pictures in the question's own template, followed by these ids.

        Raises:
            SettingError: the pictures are not known.
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
        for name in hf.TYPES:
            if isinstance(types := self.given.get(name), Tensor):
                made = types.new_zeros((len(rows), width))
                before, behind = self.wording.types.get(name, ([], []))
                for place, (row, (first, end)) in enumerate(zip(rows, spans, strict=True)):
                    start = self.starts[place * repeat]
                    own = types[place, start + first : start + end].tolist()
                    told = [*(before or [0] * len(head)), *own, *behind, *[0] * len(row)][: len(row)]
                    made[place, width - len(row) :] = torch.tensor(told, dtype=types.dtype)
                per_token[name] = made
        dropped = {*hf.PER_TOKEN, "input_ids", "cache_position"}
        rest = {name: value for name, value in self.given.items() if name not in dropped}
        return {**hf.without_cache(rest)[0], "input_ids": ids, "attention_mask": mask, **per_token}


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of the common beginning."""
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
