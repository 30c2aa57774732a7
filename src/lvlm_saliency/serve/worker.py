"""The one thread that runs the model: rows wait in a bounded queue and are decoded in batches."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch

from lvlm_saliency.chat import Answer, Chat
from lvlm_saliency.chat.notes import token_notes
from lvlm_saliency.errors import LvlmSaliencyError
from lvlm_saliency.serve.decode import Reader, write
from lvlm_saliency.serve.faults import Fault
from lvlm_saliency.serve.metrics import Metrics
from lvlm_saliency.serve.reports import Reports
from lvlm_saliency.serve.rows import Row
from lvlm_saliency.serve.settings import ServeSettings

log = logging.getLogger("lvlm_saliency.serve")
LINGER, MOST_LINGER = 0.004, 0.04
"""Seconds to wait for more rows for a batch.

The worker waits while rows keep arriving within the first time, or requests are being read, but never longer than the
second. It does not wait for a client that asks alone, one request after the other.
"""


class Errand(Protocol):
    """A long job with the model that runs between answers."""

    def run(self, between: Callable[[], bool]) -> None:
        """Do the job. It must raise nothing, and records its outcome itself.

        Args:
            between: call it wherever the model may be used for waiting requests; it serves them and returns False when
                the server is stopping.
        """


class Worker(threading.Thread):
    """The worker thread: serves rows until it is stopped."""

    def __init__(self, chat: Chat, settings: ServeSettings, metrics: Metrics, reports: Reports, risk: Any = None):
        super().__init__(name="lvlm-saliency-worker", daemon=True)
        self.chat, self.settings, self.metrics, self.reports = chat, settings, metrics, reports
        self.reader = Reader(chat, risk)
        self._waiting: list[Row] = []
        self._arriving = 0
        self._errands: list[Errand] = []
        self._change = threading.Condition()
        self._stopping = False
        self._together = 1

    # --- from any thread ---

    @contextlib.contextmanager
    def expecting(self) -> Iterator[None]:
        """A context in which a request is being read; the next batch waits for its rows a little."""
        with self._change:
            self._arriving += 1
        try:
            yield
        finally:
            with self._change:
                self._arriving -= 1
                self._change.notify()

    def submit(self, rows: Sequence[Row]) -> None:
        """Put the rows of one request into the queue, all or none of them.

        Raises:
            Fault: the queue is full (429), or the server is stopping (503).
        """
        with self._change:
            if self._stopping:
                raise Fault(503, "the server is stopping", code="stopping")
            self._waiting = [row for row in self._waiting if not row.cancelled]
            if len(self._waiting) + len(rows) > self.settings.max_waiting:
                self.metrics.count("rejected_total")
                wait = self.settings.retry_after
                raise Fault(
                    429, f"the server is busy: try again in {wait} seconds", code="queue_full", retry_after=wait
                )
            self._waiting += rows
            self.metrics.gauge("waiting", len(self._waiting))
            self._change.notify()

    def take_on(self, errand: Errand) -> None:
        """Queue a long job, which starts when no request is waiting."""
        with self._change:
            self._errands.append(errand)
            self._change.notify()

    def stop(self) -> None:
        """Accept no more rows, finish those in the queue, and end the thread."""
        with self._change:
            self._stopping = True
            self._change.notify()

    @property
    def waiting(self) -> int:
        """The number of rows in the queue."""
        return len(self._waiting)

    # --- in the thread ---

    def run(self) -> None:
        while self._wait():
            if batch := self._next():
                self._serve(batch)
            elif self._errands and not self._stopping:
                self._errands.pop(0).run(self._between)

    def _between(self) -> bool:
        """Serve the waiting rows; returns whether a long job may go on."""
        while not self._stopping and (batch := self._next()):
            self._serve(batch)
        return not self._stopping

    def _serve(self, batch: list[Row]) -> None:
        self.metrics.gauge("running", len(batch))
        self.metrics.observe("batch_size", len(batch))
        self._work(batch)
        self.metrics.gauge("running", 0)

    def _wait(self) -> bool:
        """Wait until there is something to do; False when the thread is to end."""
        with self._change:
            company = self._together > 1 or bool(self._waiting)
            while not self._waiting and not self._errands:
                if self._stopping:
                    return False
                self._change.wait()
            self._linger(company)
            return bool(self._waiting) or not self._stopping

    def _linger(self, company: bool) -> None:
        """Wait a little for more rows that may share the batch. company: whether there were others just now."""
        last, seen = time.monotonic() + MOST_LINGER, 0 if company else len(self._waiting)
        while 0 < len(self._waiting) < self.settings.max_batch and not self._stopping:
            if (len(self._waiting) == seen and not self._arriving) or time.monotonic() > last:
                return
            seen = len(self._waiting)
            self._change.wait(LINGER)

    def _next(self) -> list[Row]:
        """The row that has waited longest, and others that may share its batch; empty if the queue is."""
        with self._change:
            self._waiting = [row for row in self._waiting if not row.cancelled]
            if not self._waiting:
                return []
            first = self._waiting[0]
            most = 1 if first.way.alone and first.brought is None else self.settings.max_batch
            batch = [row for row in self._waiting if row.key == first.key][:most]
            self._waiting = [row for row in self._waiting if row not in batch]
            self._together = len(batch)
            self.metrics.gauge("waiting", len(self._waiting))
            return batch

    def _work(self, batch: list[Row]) -> None:
        rows, inputs = self._read([row for row in batch if not row.cancelled])
        if not rows:
            return
        begin = time.perf_counter()
        try:
            self._answer(rows, inputs)
        # The thread must survive any error of a model, a driver or a picture: the rows fail, the server goes on.
        except Exception as error:
            self._recover(rows, error)
        for row in rows:
            if row.cancelled:
                self.metrics.count("cancelled_total")
        self.metrics.count("tokens_total", sum(len(row.ids) for row in rows if row.brought is None))
        log.debug("batch", extra={"told": {"rows": len(rows), "seconds": round(time.perf_counter() - begin, 4)}})

    def _read(self, rows: list[Row]) -> tuple[list[Row], Any]:
        """The rows whose prompts can be encoded, and their inputs; None for inputs that are still to be encoded."""
        if rows and rows[0].brought is None:
            try:
                inputs = self.chat.encode([row.query for row in rows], max(row.max_tokens for row in rows))
            # One of the rows may be to blame, whatever the error is: they are encoded one by one.
            except Exception as error:
                log.debug("texts could not be encoded together: %s", type(error).__name__)
            else:
                for row, length in zip(rows, inputs["attention_mask"].sum(1).tolist(), strict=True):
                    row.prompt_tokens = length
                self.metrics.count("prompt_tokens_total", sum(row.prompt_tokens for row in rows))
                return rows, inputs
        known: dict[int, int] = {}
        return [row for row in rows if self._fits(row, known)], None

    def _fits(self, row: Row, known: dict[int, int]) -> bool:
        """Whether the row's prompt can be encoded and fits the model; if not, its client is told why.

        Args:
            known: lengths of prompts by the `id` of their query: the choices of one request share one query.
        """
        try:
            if id(row.query) not in known:
                inputs = self.chat.encode([row.query], row.max_tokens if row.brought is None else 0)
                known[id(row.query)] = inputs["input_ids"].shape[1]
            row.prompt_tokens = known[id(row.query)]
            if row.brought is not None:
                self.chat.given([row.query], [row.brought])
        # Processors fail on strange pictures and texts with errors of almost any type.
        except Exception as error:
            if not isinstance(error, LvlmSaliencyError):
                log.exception("a prompt could not be encoded")
            row.fail(error)
            return False
        self.metrics.count("prompt_tokens_total", row.prompt_tokens)
        return True

    def _answer(self, rows: list[Row], inputs: Any) -> None:
        if rows[0].brought is None:
            answers = write(self.chat, rows, self.reader, inputs)
        else:
            answers = self.chat.given(
                [row.query for row in rows], [str(row.brought) for row in rows], rows[0].way.methods, name="given text"
            )
            for row, answer in zip(rows, answers, strict=True):
                row.max_tokens = len(answer.token_ids) + 1
                for token in answer.token_ids:
                    row.feed(token, self.chat.tokenizer, self.chat.ends)
                row.finish = row.finish or "stop"
        self._tell(rows, answers)

    def _tell(self, rows: list[Row], answers: list[Answer]) -> None:
        """Send the ends of finished texts, with their explanations."""
        traced = [row for row in rows if row.wishes.traced and not row.cancelled]
        extras: dict[int, dict[str, Any]] = {id(row): {} for row in rows}
        if traced:
            kept = [answers[rows.index(row)] for row in traced]
            for row, found in zip(traced, self.reader.explained(kept, traced), strict=True):
                final = token_notes(found)
                row.notes[len(row.notes) :] = final[len(row.notes) :]
                extra = extras[id(row)] = {"report_url": f"/reports/{self.reports.keep(found)}"}
                if row.way.unread:
                    extra["read_without"] = row.way.unread
                if row.streamed:
                    extra["tokens"] = [{"token": text, **note} for text, note in zip(found.tokens, final, strict=True)]
        for row, answer in zip(rows, answers, strict=True):
            events = getattr(answer.output, "guard", None)
            if events is not None:
                extras[id(row)]["events"] = [event.to_dict() for event in events[answer.sample]]
            if not row.cancelled:
                row.done(**extras[id(row)])

    def _recover(self, rows: list[Row], error: Exception) -> None:
        """Retry the rows of a failed batch one by one, where no event was sent yet, so that only the culprit fails."""
        known = isinstance(error, (LvlmSaliencyError, torch.OutOfMemoryError))
        if not known:
            log.exception("a batch failed")
        fresh = [row for row in rows if row.untold and not row.cancelled]
        if len(rows) > 1 and fresh:
            for row in rows:
                if row not in fresh:
                    row.fail(error)
            for row in fresh:
                row.reset()
                self._work([row])
            return
        memory = Fault(503, "the request does not fit into the server's memory", code="out_of_memory")
        for row in rows:
            row.fail(memory if isinstance(error, torch.OutOfMemoryError) else error)
