"""Decode a batch of rows, stream their tokens, and explain them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria

from lvlm_saliency.chat import Answer, Batch, Chat, Explanation
from lvlm_saliency.chat.notes import number, token_notes
from lvlm_saliency.guard.events import Moment, Watcher
from lvlm_saliency.model import families
from lvlm_saliency.serve.rows import Drafted, Row

LIVE_SHARE = 0.5
"""Seconds that traces of an unfinished text may take per second of decoding."""


class Writing(StoppingCriteria, Watcher):
    """Receives the tokens of a batch as a streamer does, and stops each text at its own end.

    Under a guard, the tokens of a sentence arrive once the guard has settled that sentence; drafts arrive by `watch`.
    """

    def __init__(self, chat: Chat, rows: Sequence[Row], inputs: Any, odds: Odds | None, reader: Reader):
        self.chat, self.rows, self.inputs, self.odds, self.reader = chat, rows, inputs, odds, reader
        self.answers: list[Tensor] = []
        self.next_trace = 0.0

    def put(self, tokens: Tensor) -> None:
        """A step of the streamer: the prompt in the first call, which is ignored, then one token per row."""
        if tokens.dim() != 1 or len(tokens) != len(self.rows):
            return
        self.answers.append(tokens)
        for at, (row, token) in enumerate(zip(self.rows, tokens.tolist(), strict=True)):
            known = None if self.odds is None or not row.wishes.logprobs else self.odds.of(at, token, row.wishes.top)
            row.feed(token, self.chat.tokenizer, self.chat.ends, known)
        if not self.rows[0].way.settles:
            self._tell()

    def watch(self, sample: int, moment: Moment) -> None:
        """An event of a guard: see `guard.events.Moment`."""
        row = self.rows[sample]
        if moment.kind == "draft":  # a draft begins after its sentences are settled, so all their tokens have arrived
            self._tell()
        if row.streamed and row.wishes.drafts and not row.ended:
            row.tell(Drafted(row.index, moment.to_dict()))

    def _tell(self) -> None:
        """Send the tokens that are final and fully annotated."""
        self._read_live()
        for row in self.rows:
            if row.streamed and not row.ended:
                row.release()

    def end(self) -> None:
        """The end of the stream; nothing is left to do."""

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        if len(input_ids) == len(self.rows):
            written = input_ids.shape[1] - self.inputs["input_ids"].shape[1]
            done = [row.ended or written >= row.max_tokens for row in self.rows]
        else:  # the beams of one text
            done = [all(row.cancelled for row in self.rows)] * len(input_ids)
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)

    def _read_live(self) -> None:
        """Trace the text so far, unless traces have used up their share of the time."""
        waiting = [
            row
            for row in self.rows
            if row.streamed and row.wishes.traced and not row.ended and len(row.notes) < len(row.ids)
        ]
        if self.rows[0].way.unread:  # such methods act on every forward pass until the text ends, so on a trace's too
            return
        if not waiting or time.perf_counter() < self.next_trace:
            return
        begin = time.perf_counter()
        prompt = self.inputs["input_ids"]
        answers = torch.stack(self.answers, dim=1).to(prompt.device)
        batch = Batch(
            [row.query for row in self.rows],
            self.inputs,
            torch.cat([prompt, answers.to(prompt.dtype)], dim=1),
            [],  # the methods are active already: this runs inside their generation
        )
        for row, found in zip(self.rows, self.reader.read(batch, self.rows), strict=True):
            if row in waiting:
                row.notes[len(row.notes) :] = found[len(row.notes) :]
        took = time.perf_counter() - begin
        self.next_trace = time.perf_counter() + took / LIVE_SHARE


class Odds(LogitsProcessor):
    """A logits processor that keeps the log-probabilities of the current step, before temperature and top-p."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.last: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.last = torch.log_softmax(scores.float(), dim=-1)
        return scores

    def of(self, row: int, token: int, top: int) -> dict[str, Any] | None:
        """The log-probability entry of a row's token, with the `top` most probable alternatives."""
        if self.last is None or row >= len(self.last):
            return None
        own = self.last[row]
        values, ids = own.topk(top) if top else (own[:0], own[:0].long())
        rivals = [self._entry(rival, value) for value, rival in zip(values.tolist(), ids.tolist(), strict=True)]
        return {"logprob": finite(own[token].item()), "top_logprobs": rivals}

    def _entry(self, token: int, value: float) -> dict[str, Any]:
        text = self.tokenizer.decode([token])
        return {"token": text, "logprob": finite(value), "bytes": list(text.encode())}


def finite(value: float) -> float:
    """A log-probability for JSON: -9999 for a token of probability 0, as in OpenAI's API."""
    found = number(value)
    return -9999.0 if found is None else found


class Reader:
    """Traces batches and builds the notes of their tokens (saliency, risk, detectors)."""

    def __init__(self, chat: Chat, risk: Any = None):
        self.chat, self.risk = chat, risk

    def read(self, batch: Batch, rows: Sequence[Row]) -> list[list[dict[str, Any]]]:
        """For each row, the notes of its tokens so far."""
        answers = [
            Answer(row.query, "answer", row.ids, batch.methods, None, batch, at, self.chat.tokenizer)
            for at, row in enumerate(rows)
        ]
        return [token_notes(found) for found in self.chat.explain(answers, risk=self._risk(rows), layouts=False)]

    def explained(self, answers: Sequence[Answer], rows: Sequence[Row]) -> list[Explanation]:
        """The explanations of finished answers, one per row."""
        names = list(dict.fromkeys(name for row in rows for name in row.wishes.detectors))
        return self.chat.explain(answers, risk=self._risk(rows), detectors=names, layouts=self.placed(rows))

    def placed(self, rows: Sequence[Row]) -> bool:
        """Whether the position of each image token in its picture is known for this model."""
        family = families.find(self.chat.model.config.model_type)
        return bool(rows[0].query.pictures) and family is not None and family.grid is not None

    def _risk(self, rows: Sequence[Row]) -> Any:
        return self.risk if any(row.wishes.risk for row in rows) else None


def write(chat: Chat, rows: Sequence[Row], reader: Reader, inputs: Any = None) -> list[Answer]:
    """Generate the texts of some rows as one batch, and send the tokens of the rows that are streamed.

    Args:
        inputs: what `chat.encode` returned for these rows; None: they are encoded here.
    """
    way = rows[0].way
    inputs = chat.encode([row.query for row in rows]) if inputs is None else inputs
    odds = Odds(chat.tokenizer) if any(row.wishes.logprobs for row in rows) and way.live else None
    writing = Writing(chat, rows, inputs, odds, reader)
    more: dict[str, Any] = {} if odds is None else {"logits_processor": [odds]}
    # Tokens are heard one by one only where somebody waits for them, or a text may end at its own words.
    waited_for = odds is not None or any(row.streamed or row.stop for row in rows)
    heard = way.settles or (way.live and waited_for)
    answers = chat.ask(
        [row.query for row in rows],
        way.methods,
        inputs=inputs,
        streamer=writing if heard else None,
        stopping_criteria=[writing],
        sample_ids=[row.sample for row in rows],
        max_new_tokens=max(row.max_tokens for row in rows),
        **way.settings,
        **more,
    )
    if not heard:
        for row, answer in zip(rows, answers, strict=True):
            for token in answer.token_ids:
                row.feed(token, chat.tokenizer, chat.ends)
    batch = dataclasses.replace(answers[0].batch, methods=way.read)
    return [dataclasses.replace(answer, batch=batch) for answer in answers]
