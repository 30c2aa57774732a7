"""The inner loop of a guarded generation: choose a token for every sample, judge its claims, roll back if necessary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.guard.asking import PATIENCE, ask
from lvlm_saliency.guard.bans import without_banned
from lvlm_saliency.guard.claims import Note
from lvlm_saliency.guard.events import Moment
from lvlm_saliency.guard.means import Means
from lvlm_saliency.guard.questions import Asker
from lvlm_saliency.guard.row import Row
from lvlm_saliency.guard.shaping import Shaping
from lvlm_saliency.guard.state import unwatched
from lvlm_saliency.guard.strands import Alone, Straight, Strand, Together
from lvlm_saliency.tracing.logits import finite_logits, token_odds

Read = Callable[[Sequence[int]], dict[int, Any]]
"""Reads the features of the newest rows of some samples."""


class Writer:
    """Generates rows together.

    Args:
        means: what is needed for it.
        rows: the samples.
        strand: their texts and their cache.
        numbers: their positions in the batch.
        put: takes settled columns of tokens, for a streamer; None without one.
        shaping: makes the logits to choose from.
        narrows: whether samples that are done leave the batch.

    Attributes:
        asker: asks the model; None where it is not asked. Given after the writer is made, whose `places` it reads.
        rows, numbers: of the samples that are still in the batch.
    """

    def __init__(
        self,
        means: Means,
        rows: list[Row],
        strand: Strand,
        numbers: Sequence[int],
        put: Callable[[Tensor], None] | None,
        shaping: Shaping,
        narrows: bool = False,
    ):
        self.means, self.rows, self.strand, self.numbers = means, rows, strand, numbers
        self.put, self.shaping, self.narrows = put, shaping, narrows
        self.asker: Asker | None = None
        self.reader = means.reader
        self.strands = (strand, *(() if shaping.first_only else shaping.strands))
        self.length = strand.texts.prompt_length
        self.limits = hf.plain_limits(means.criteria)
        self.patience = 0 if len(rows) == 1 else PATIENCE
        self.step = self.drafted = self.streamed = 0
        self.scores: list[list[Tensor]] = [[] for _ in rows]
        self.logits: list[list[Tensor]] = [[] for _ in rows]

    def places(self) -> tuple[Any, dict[int, tuple[int, int]]]:
        """Where the samples stand at present, as `questions.Source` has it."""
        return self.strand.cache, dict(zip(self.numbers, enumerate(self.strand.shift), strict=True))

    def write(self, longest: int) -> None:
        """Generate every row to its end, `longest` tokens at most."""
        logits: Tensor = self.strand.start.logits
        read: Read | None = None
        while True:
            self._choose(logits, read, longest)
            read = None  # frees the tensors that it holds before the next pass allocates new ones
            self._judge()
            self._stream()
            for row in self.rows:
                if not row.done and row.watch is not unwatched:
                    row.watch(Moment("draft", row.draft.sentence))
            if all(row.done for row in self.rows):
                return
            self._narrow()
            for strand in self.strands:
                strand.settle([not row.done for row in self.rows])
            logits, read = self._read()

    def _narrow(self) -> None:
        """Go on without the samples that are done, once they are a quarter of those that are fed."""
        left = [n for n, row in enumerate(self.rows) if not row.done]
        if not self.narrows or 4 * len(left) > 3 * len(self.rows):
            return
        assert isinstance(self.strand, Together)
        self.strand.keep(left)
        self.reader = None if self.reader is None else self.reader.rows(left)
        self.rows, self.numbers = [self.rows[n] for n in left], [self.numbers[n] for n in left]

    # --- one step ---

    def _read(self) -> tuple[Tensor, Read | None]:
        reader = self.reader
        if reader is None:
            return self.strand.logits(None), None
        capture = reader.capture()
        logits = self.strand.logits(capture)
        shift, total = list(self.strand.shift), int(self.strand.cache.get_seq_length())
        first = [row.draft.first for row in self.rows]

        def read(samples: Sequence[int]) -> dict[int, Any]:
            return reader.features(capture, shift, total, first, samples)

        return logits, read

    def _choose(self, logits: Tensor, read: Read | None, longest: int) -> None:
        """Choose the next token of every row that is neither done nor waiting for an answer at its end."""
        texts = self.strand.texts
        writing = [row.ended is None for row in self.rows]
        raw = finite_logits(logits.detach()).to(texts.ids.device, copy=True)
        shaped, processed = self._processed(raw, writing)
        chosen = self.means.choice.tokens(processed, self.rows, writing)
        if read is None and self.means.reader is not None and self._names(chosen):
            _, read = self._read_again()
        notes = self._notes(raw, chosen, read)
        for n, alive in enumerate(writing):
            if alive:
                self._keep(n, shaped[n], processed[n])
        for strand in self.strands:
            strand.put(chosen)
        ended = self._ended(chosen)
        self.step += 1
        for n, (row, token) in enumerate(zip(self.rows, chosen, strict=True)):
            if token is None:
                continue
            self.drafted += 1
            over = "stop" if token in self.means.ends else None
            if over is None and ended[n]:
                over = "length" if len(row.draft) + 1 >= longest else "stop"
            row.written(token, notes[n], over, self.step, self._odds)

    def _ended(self, chosen: Sequence[int | None]) -> list[bool]:
        """Whether the newest token of each text is its last."""
        texts, limits = self.strand.texts, self.limits
        if limits is None:
            found: list[bool] = texts.by_length(texts.ends, lambda ids: self.means.criteria(ids, None)).tolist()
            return found
        return [end >= limits[0] or token in limits[1] for end, token in zip(texts.ends, chosen, strict=True)]

    def _processed(self, raw: Tensor, writing: Sequence[bool]) -> tuple[Tensor, Tensor]:
        """The logits after the shaper, and those after processors, bans and warpers as well."""
        texts, shaping = self.strand.texts, self.shaping
        beginning = [len(row.draft) == 0 for row in self.rows]
        before, behind = hf.warpers_apart(self.means.processor)

        def processed(logits: Tensor) -> Tensor:
            return texts.by_length(texts.ends, lambda ids: before(ids, logits)) if before else logits

        if shaping.late:
            shaped = found = shaping.shaped(processed(raw), beginning, self.step == 0)
        else:
            shaped = shaping.shaped(raw, beginning, self.step == 0)
            found = processed(shaped)
        found = without_banned(found, self.rows, writing, self.means.spellings, self.means.ends)
        return shaped, texts.by_length(texts.ends, lambda ids: behind(ids, found)) if behind else found

    def _names(self, chosen: Sequence[int | None]) -> bool:
        """Whether one of the chosen tokens may begin an object's name, so that the features of its row are needed."""
        taken_back = isinstance(self.strand, Together) and not isinstance(self.strand, Straight)
        return taken_back and any(token in self.means.spellings.firsts for token in chosen)

    def _read_again(self) -> tuple[Tensor, Read | None]:
        """Run the last row of the prompt again, for features that the pass over the whole prompt did not keep."""
        self.strand.settle([True] * len(self.rows))
        return self._read()

    def _odds(self, row: Row, token: int) -> float | None:
        return None if self.means.reader is None else self.means.reader.odds(row, token)

    def _notes(self, raw: Tensor, chosen: Sequence[int | None], read: Read | None) -> list[Note]:
        if self.means.reader is None:
            return [Note(0.0, 0.0, None) for _ in chosen]
        targets = torch.tensor([0 if token is None else token for token in chosen], device=raw.device)
        _, log_p, entropy = token_odds(raw, targets)
        counting = [n for n, _ in enumerate(chosen) if self._counts(n, chosen)]
        features: dict[int, Any] = {} if read is None else read(counting)
        return [
            Note(*values, features.get(n))
            for n, values in enumerate(zip(log_p.tolist(), entropy.tolist(), strict=True))
        ]

    def _counts(self, number: int, chosen: Sequence[int | None]) -> bool:
        """Whether the row that chose this sample's token matters to an object's name: the token may begin one, or
        follows one that may."""
        token, row = chosen[number], self.rows[number]
        if token is None or self.means.reads_all:
            return token is not None
        firsts = self.means.spellings.firsts
        names = [name for one in (token, *row.draft.ids[-1:]) for name in firsts.get(one, ())]
        return not all(name in row.verdicts for name in names)  # an object that was judged is not judged again

    def _keep(self, number: int, raw: Tensor, processed: Tensor) -> None:
        at, (scores, logits) = len(self.rows[number].draft), self.means.wants
        if scores:
            self.scores[number][at:] = [processed]
        if logits:
            self.logits[number][at:] = [raw]

    # --- what it says ---

    def _judge(self) -> None:
        """Ask the questions that are due, and judge what can be judged."""
        while True:
            if self.asker is not None:
                ask(self.asker, self.rows, self.numbers, self.step, self.patience)
            went = {
                n: back for n, row in enumerate(self.rows) if not row.done and (back := self._resolve(row)) is not None
            }
            if went:
                last = [row.draft.ids[-1] if n in went and row.done else None for n, row in enumerate(self.rows)]
                for strand in self.strands:
                    strand.back(went)
                    strand.put(last)
            if not any(row.waiting for row in self.rows if row.ended and not row.done):
                return

    def _resolve(self, row: Row) -> int | None:
        settled = row.draft.start
        back = row.resolve()
        if row.draft.start > settled and not row.done and not row.draft.thinking:
            for strand in self.strands:
                if isinstance(strand, Alone):
                    strand.mark()
        return back

    # --- streaming ---

    def _stream(self) -> None:
        """Pass on the columns of tokens that are settled in every row, and so never rolled back."""
        if self.put is None:
            return
        texts = self.strand.texts
        ready = min((row.draft.start for row in self.rows if not row.done), default=None)
        if ready is None:
            ready = max(len(row.draft) for row in self.rows)
        for column in range(self.streamed, ready):
            self.put(texts.ids[:, self.length + column])
        self.streamed = max(self.streamed, ready)
