"""The loop of a guarded generation: one token of every sample, what it says judged, and back where it has to go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.decoding.draws import pick, uniform
from lvlm_saliency.guard.bans import Spellings
from lvlm_saliency.guard.events import Moment
from lvlm_saliency.guard.features import Reader
from lvlm_saliency.guard.questions import Asker
from lvlm_saliency.guard.row import Note, Row
from lvlm_saliency.guard.shaping import Shaping
from lvlm_saliency.guard.strands import Alone, Straight, Strand, Together
from lvlm_saliency.risk.asked import question
from lvlm_saliency.tracing.logits import finite_logits, token_odds

VARIED = 0.8, 0.95
"""Temperature and top-p of the texts among which "best_of" chooses, where the base is not sampled."""
PATIENCE = 4
"""Steps that a question may wait for others of its batch; one sample's is asked at once."""


@dataclass(frozen=True)
class Choice:
    """How tokens are chosen: sampled, with the settings' temperature and seed, or the likeliest. A sentence that is
    written again is drawn at a rising temperature, and at its first time (of a text that is not sampled) it is not."""

    sampled: bool
    temperature: float
    seed: int | None

    def tokens(self, processed: Tensor, rows: Sequence[Row], writing: Sequence[bool]) -> list[int | None]:
        """The next token of every row that is writing, from processed logits `[B, V]`. Without a seed all are drawn at
        once from torch's own generator, as `generate` draws them."""
        if self.seed is None:
            drawn = torch.multinomial(torch.softmax(processed, dim=-1), num_samples=1).squeeze(1).tolist()
            return [token if alive else None for token, alive in zip(drawn, writing, strict=True)]
        return [
            self._token(processed[n], row, len(row.draft)) if alive else None
            for n, (row, alive) in enumerate(zip(rows, writing, strict=True))
        ]

    def _token(self, processed: Tensor, row: Row, step: int) -> int:
        """The next token of a sample, from its processed logits `[V]`."""
        attempt = row.candidate or (row.attempt if row.redoing and not row.dropping else 0)
        if not self.sampled and (attempt < 2 and not row.candidate):
            return int(processed.argmax())
        if row.candidate:
            scale = 1.0
            if not self.sampled:
                processed = _nucleus(processed / VARIED[0], VARIED[1])
        elif self.sampled:
            scale = self.temperature / min(self.temperature + 0.05 * attempt, self.temperature + 0.5)
        else:
            scale = 1 / min(0.2 + 0.1 * (attempt - 1), 0.7)
        weights = torch.softmax(processed.double() * scale, dim=-1).cpu().numpy()
        return pick(weights, uniform(self.seed, row.number, step, attempt))


def _nucleus(logits: Tensor, share: float) -> Tensor:
    """The logits `[V]` with -inf outside the smallest set of likeliest tokens whose probability reaches `share`."""
    order = logits.argsort(descending=True)
    mass = torch.softmax(logits[order].double(), -1).cumsum(-1)
    keep = torch.cat([mass.new_zeros(1), mass[:-1]]) < share
    return logits.index_fill(0, order[~keep], -torch.inf)


@dataclass(frozen=True)
class Means:
    """What the rows of a generation are written with. processor, criteria: `generate`'s own; reader: of the risk
    model's features, None without one; ends: tokens that end a text; wants: whether the scores and the logits of each
    step are kept."""

    processor: Any
    criteria: Any
    spellings: Spellings
    choice: Choice
    reader: Reader | None
    ends: tuple[int, ...]
    wants: tuple[bool, bool]


class Writer:
    """Rows that are written together: `strand` reads them, `shaping` makes the logits to choose from, `numbers` are
    their places in the batch; `put` takes the columns that are settled."""

    def __init__(
        self,
        means: Means,
        rows: list[Row],
        strand: Strand,
        numbers: Sequence[int],
        asker: Asker | None,
        put: Callable[[Tensor], None] | None,
        shaping: Shaping,
    ):
        self.means, self.rows, self.strand, self.numbers = means, rows, strand, numbers
        self.asker, self.put, self.shaping = asker, put, shaping
        self.strands = (strand, *(() if shaping.first_only else shaping.strands))
        self.length = strand.texts.prompt_length
        self.patience = 0 if len(rows) == 1 else PATIENCE
        self.step = self.drafted = self.streamed = 0
        self.scores: list[list[Tensor]] = [[] for _ in rows]
        self.logits: list[list[Tensor]] = [[] for _ in rows]

    def write(self, longest: int) -> None:
        """Every row to its end, of at most `longest` tokens."""
        logits, features = self.strand.start.logits, None
        while True:
            self._choose(logits, features, longest)
            self._judge()
            self._stream()
            for row in self.rows:
                if not row.done:
                    row.watch(Moment("draft", row.draft.sentence))
            if all(row.done for row in self.rows):
                return
            for strand in self.strands:
                strand.settle([not row.done for row in self.rows])
            logits, features = self._read()

    # --- one step ---

    def _read(self) -> tuple[Tensor, list | None]:
        reader = self.means.reader
        if reader is None:
            return self.strand.logits(None), None
        capture = reader.capture()
        logits = self.strand.logits(capture)
        total = int(self.strand.cache.get_seq_length())
        return logits, reader.features(capture, self.strand.shift, total, [row.draft.first for row in self.rows])

    def _choose(self, logits: Tensor, features: list | None, longest: int) -> None:
        """The next token of every row that is not done or waiting at its end."""
        texts = self.strand.texts
        writing = [row.ended is None for row in self.rows]
        raw = finite_logits(logits.detach()).to(texts.ids.device, copy=True)
        shaped, processed = self._processed(raw, writing)
        chosen = self.means.choice.tokens(processed, self.rows, writing)
        if features is None and self.means.reader is not None and self._names(chosen):
            _, features = self._read_again()
        notes = self._notes(raw, chosen, features)
        for n, alive in enumerate(writing):
            if alive:
                self._keep(n, shaped[n], processed[n])
        for strand in self.strands:
            strand.put(chosen)
        ended = texts.by_length(texts.ends, lambda ids: self.means.criteria(ids, None)).tolist()
        self.step += 1
        for n, (row, token) in enumerate(zip(self.rows, chosen, strict=True)):
            if token is None:
                continue
            self.drafted += 1
            over = "stop" if token in self.means.ends else None
            if over is None and ended[n]:
                over = "length" if len(row.draft) + 1 >= longest else "stop"
            row.written(token, notes[n], over, self.step, self._odds)

    def _processed(self, raw: Tensor, writing: Sequence[bool]) -> tuple[Tensor, Tensor]:
        """The logits that methods make of the model's own, and what processors, bans and warpers make of those."""
        texts, shaping = self.strand.texts, self.shaping
        beginning = [len(row.draft) == 0 for row in self.rows]
        before, behind = hf.warpers_apart(self.means.processor)

        def processed(logits: Tensor) -> Tensor:
            return texts.by_length(texts.ends, lambda ids: before(ids, logits))

        if shaping.late:
            shaped = found = shaping.shaped(processed(raw), beginning, self.step == 0)
        else:
            shaped = shaping.shaped(raw, beginning, self.step == 0)
            found = processed(shaped)
        found = self._banned(found, writing)
        return shaped, texts.by_length(texts.ends, lambda ids: behind(ids, found))

    def _names(self, chosen: Sequence[int | None]) -> bool:
        """Whether a text begins with what may be an object word, so that the row that chose it counts."""
        taken_back = isinstance(self.strand, Together) and not isinstance(self.strand, Straight)
        return taken_back and any(token in self.means.spellings.firsts for token in chosen)

    def _read_again(self) -> tuple[Tensor, list | None]:
        """The row behind the prompt once more, for what the pass over all of the prompt did not keep of it."""
        self.strand.settle([True] * len(self.rows))
        return self._read()

    def _odds(self, row: Row, token: int) -> float | None:
        return None if self.means.reader is None else self.means.reader.odds(row, token)

    def _notes(self, raw: Tensor, chosen: Sequence[int | None], features: list | None) -> list[Note]:
        if self.means.reader is None:
            return [Note(0.0, 0.0, None) for _ in chosen]
        targets = torch.tensor([0 if token is None else token for token in chosen], device=raw.device)
        _, log_p, entropy = token_odds(raw, targets)
        features = features or [None] * len(chosen)
        return [Note(*values) for values in zip(log_p.tolist(), entropy.tolist(), features, strict=True)]

    def _banned(self, scores: Tensor, writing: Sequence[bool]) -> Tensor:
        """The scores with -inf for what a sentence that is written again may not say."""
        found = scores
        for n, (row, alive) in enumerate(zip(self.rows, writing, strict=True)):
            if not alive or not row.redoing:
                continue
            found = scores.clone() if found is scores else found
            found[n] = self._without(found[n], row)
        return found

    def _without(self, scores: Tensor, row: Row) -> Tensor:
        draft, names = row.draft, row.forbidden
        fixed = set(row.first) if len(draft) == draft.start else set()
        if not draft.may_end:
            fixed |= set(self.means.ends)
        if draft.ends_in_word:
            fixed.add(draft.ids[-1])
        while True:
            ids = sorted(fixed | self.means.spellings.banned(names, draft.ids))
            left = scores.index_fill(0, torch.tensor(ids, device=scores.device, dtype=torch.long), -torch.inf)
            if bool((left > -torch.inf).any()) or not (names or fixed):
                return left
            row.tally.lifted += 1  # nothing is left to say: the newest ban goes first
            fixed, names = (fixed, names[:-1]) if names else (set(), names)

    def _keep(self, number: int, raw: Tensor, processed: Tensor) -> None:
        at, (scores, logits) = len(self.rows[number].draft), self.means.wants
        if scores:
            self.scores[number][at:] = [processed]
        if logits:
            self.logits[number][at:] = [raw]

    # --- what it says ---

    def _judge(self) -> None:
        """Ask what has to be asked, and resolve what can be."""
        while True:
            self._ask()
            went = {
                n: back for n, row in enumerate(self.rows) if not row.done and (back := self._resolve(row)) is not None
            }
            if went:
                last = [row.draft.ids[-1] if n in went and row.done else None for n, row in enumerate(self.rows)]
                for strand in self.strands:
                    strand.back(went)
                    strand.put(last)
            if not any(claim.waiting for row in self.rows if row.ended for claim in row.claims):
                return

    def _resolve(self, row: Row) -> int | None:
        settled = row.draft.start
        back = row.resolve()
        if row.draft.start > settled and not row.done and not row.draft.thinking:
            for strand in self.strands:
                if isinstance(strand, Alone):
                    strand.mark()
        return back

    def _ask(self) -> None:
        waiting = [(n, claim) for n, row in enumerate(self.rows) for claim in row.claims if claim.waiting]
        due = any(self.step - claim.since >= self.patience or self.rows[n].ended for n, claim in waiting)
        if not due or self.asker is None:
            return
        pairs = list(dict.fromkeys((n, claim.mention.name) for n, claim in waiting))
        margins = self.asker.margins([(self.numbers[n], question(name)) for n, name in pairs])
        known = dict(zip(pairs, margins, strict=True))
        for n, claim in waiting:
            self.rows[n].answered(claim, known[n, claim.mention.name])

    # --- streaming ---

    def _stream(self) -> None:
        """Hand on the columns that every row has settled: nothing of them is ever taken back."""
        if self.put is None:
            return
        texts = self.strand.texts
        ready = min((row.draft.start for row in self.rows if not row.done), default=None)
        if ready is None:
            ready = max(len(row.draft) for row in self.rows)
        for column in range(self.streamed, ready):
            self.put(texts.ids[:, self.length + column])
        self.streamed = max(self.streamed, ready)
