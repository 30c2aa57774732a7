"""The decode loop of a guarded generation, which `generate` runs if a guard is among the methods."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from lvlm_saliency import hf
from lvlm_saliency.attention.parts import Generation, Loop
from lvlm_saliency.decoding.draws import fresh_seed
from lvlm_saliency.errors import SettingError
from lvlm_saliency.guard.claims import Rules
from lvlm_saliency.guard.composition import check_parts
from lvlm_saliency.guard.draft import Draft
from lvlm_saliency.guard.events import Moment, Tally, Watcher
from lvlm_saliency.guard.means import Means
from lvlm_saliency.guard.outcome import Outcome
from lvlm_saliency.guard.plan import Plan, searched
from lvlm_saliency.guard.questions import Asker
from lvlm_saliency.guard.row import Row
from lvlm_saliency.guard.setup import set_up, tokenizer_of
from lvlm_saliency.guard.shaping import Shaping
from lvlm_saliency.guard.state import unwatched
from lvlm_saliency.guard.strands import Alone, Start, Straight, Together
from lvlm_saliency.guard.writer import Writer
from lvlm_saliency.hf import prefixes
from lvlm_saliency.interventions.sampling import Drawing
from lvlm_saliency.model.output import GenerateOutput
from lvlm_saliency.model.regions import PIXELS
from lvlm_saliency.model.thinking import Ear, marks_of


class GuardLoop(Loop):
    """The loop of one generation under `guard`."""

    def __init__(self, guard: Any):
        self.guard = guard

    def decode(self, generation: Generation) -> GenerateOutput:
        """Generate every text, and report what was done to it.

        Raises:
            SettingError: a part or a setting that does not allow a text to be rolled back; the message says why.
        """
        begin = time.perf_counter()
        check_parts(generation, self.guard)
        run = _Run(self.guard, generation)
        run.write()
        return run.outcome.output(time.perf_counter() - begin)


class _Run:
    """One generation: its rows, and what is needed to generate them."""

    def __init__(self, guard: Any, generation: Generation):
        self.guard, self.generation = guard, generation
        self.model, self.config, self.session = generation.model, generation.config, generation.open_session
        self.tokenizer = tokenizer_of(generation.run.processor)
        self.setup = set_up(guard, self.model)
        self.tally = Tally()
        self.asker: Asker | None = None
        self.writers: list[Writer] = []
        pad = hf.pad_token(self.config)
        self.filler = 0 if pad is None else int(pad)
        self.rules = self._rules()
        self.rows = [
            self._row(sample, number, watch=self._watch(sample))
            for sample, number in enumerate(generation.run.sample_ids)
        ]
        self.seed = self._seed()
        before = dict(generation.model_kwargs)
        self.start = self._read()
        self.searched = 0
        if guard.beams > 1:
            drafts, self.searched = searched(generation, self.start, before, guard.beams)
            for row, ids in zip(self.rows, drafts, strict=True):
                row.plan = Plan(ids, self.tokenizer, self.setup.vocabulary)

    def _rules(self) -> Rules:
        judge, guard = self.setup.judge, self.guard
        ends = hf.end_tokens(self.config)
        attributes = not self.config.do_sample if guard.attributes is None else guard.attributes
        return Rules(
            judge=judge,
            verdicts=guard.verdicts,
            rewrite=guard.action == "rewrite" and self.setup.acts,
            attributes=bool(attributes) and judge is not None and judge.mode != "risk",
            local_tries=guard.local_tries,
            beginnings=guard.beginnings,
            total_tries=guard.total_tries,
            per_sentence=guard.per_sentence,
            end=ends[0] if ends else None,
        )

    def _row(self, sample: int, number: int, **more: Any) -> Row:
        draft = Draft(self.tokenizer, self.setup.vocabulary, self._ear(sample))
        return Row(number, draft, self.rules, self.tally, **more)

    def _ear(self, sample: int) -> Ear | None:
        """For a model that thinks: what tells this sample's thinking from its answer."""
        marks = marks_of(self.generation.run.processor)
        if marks is None:
            return None
        ids, mask = self.generation.input_ids[sample], self.generation.model_kwargs.get("attention_mask")
        own = ids if mask is None else ids[mask[sample, : len(ids)].bool()]
        return Ear(marks, self.tokenizer.decode(own.tolist(), skip_special_tokens=False))

    def _watch(self, sample: int) -> Callable[[Moment], None]:
        """What receives this sample's moments: the streamer, if it is a `Watcher`."""
        streamer = self.generation.streamer
        return functools.partial(streamer.watch, sample) if isinstance(streamer, Watcher) else unwatched

    def _read(self) -> Start:
        """Run the prompt's forward pass."""
        generation = self.generation
        outputs = hf.prefill(self.model, generation.input_ids, self.config, generation.model_kwargs)
        kwargs = hf.advanced(self.model, outputs, generation.model_kwargs)
        prompt = self.session.prompt
        assert prompt is not None  # the decode loop has set it
        return Start(generation.input_ids, kwargs, hf.cache_of(kwargs), outputs.logits[:, -1], prompt)

    # --- writing ---

    def write(self) -> None:
        """Generate the texts: together if the cache can hold samples of different lengths, else one after the other."""
        if self.guard.action == "best_of":
            self._write_several()
        else:
            self._write_each()
        streamer = self.generation.streamer
        if streamer is not None:
            if not self.streams:
                for column in self.outcome.answers().T:
                    streamer.put(column)
            streamer.end()
        self.outcome.tell()

    @property
    def outcome(self) -> Outcome:
        """The outcome so far."""
        return Outcome(self.generation, self.start.ids, self.rows, self.writers, self.filler, self.searched)

    @property
    def streams(self) -> bool:
        """Whether settled tokens are passed on to a streamer."""
        return len(self.writers) == 1 and self.writers[0].put is not None

    def _write_each(self) -> None:
        shaping = Shaping.of(self.generation.parts.shaper, self.session)
        kind: type = Straight
        if self.rules.rewrite:
            acting = self.generation.parts.acting
            whole = all(self._keeps_all(start.cache) for start in (self.start, *shaping.starts))
            mind = len(self.rows) == 1 or all(part.minds_shift for part in acting)
            kind = Together if whole and mind and not hf.is_hybrid(self.model) else Alone
        groups = [[n] for n in range(len(self.rows))] if kind is Alone else [list(range(len(self.rows)))]
        streamer = self.generation.streamer
        for group in groups:
            start = self.start.rows(group) if kind is Alone else self.start
            strand = kind(self.model, self.session, start, self.filler)
            more = [
                kind(self.model, self.session, other.rows(group) if kind is Alone else other, self.filler)
                for other in shaping.starts
            ]
            put = (lambda ids: streamer.put(ids.cpu())) if streamer is not None and len(groups) == 1 else None
            rows = [self.rows[number] for number in group]
            means = self._means(group if kind is Alone else None)
            narrows = kind is Together and put is None and self._apart
            writer = Writer(means, rows, strand, group, put, shaping.over(more), narrows)
            writer.asker = self._asker(writer)
            self.writers.append(writer)
            writer.write(self.config.max_length - self.start.ids.shape[1])

    def _write_several(self) -> None:
        """Generate several texts per sample and keep the best supported one. They share the answers to questions.

        Raises:
            SettingError: another method makes the logits, which serves one text per sample only.
        """
        if self.generation.parts.shaper is not None:
            raise SettingError(
                "guard: action='best_of' writes several texts of a sample, and the method beside it makes the logits "
                "of one: use action='rewrite', or leave it out"
            )
        count = 1 + self.guard.samples
        origin = [place for place in range(len(self.rows)) for _ in range(count)]
        several = [
            self._row(place, self.rows[place].number, margins=self.rows[place].margins, candidate=number % count)
            for number, place in enumerate(origin)
        ]
        strand = Straight(self.model, self.session, self.start.rows(origin), self.filler)
        means = self._means(origin)
        writer = Writer(means, several, strand, origin, None, Shaping.none())
        writer.asker = self._asker(writer, own=True)
        self.writers.append(writer)
        writer.write(self.config.max_length - self.start.ids.shape[1])
        # max keeps the first of equals: candidate 0, which is generated as without "best_of".
        best = [max(range(at, at + count), key=lambda n: several[n].worth) for at in range(0, len(origin), count)]
        self.rows = [several[n] for n in best]
        writer.scores, writer.logits = [writer.scores[n] for n in best], [writer.logits[n] for n in best]

    @property
    def _apart(self) -> bool:
        """Whether nothing looks at the batch as a whole, so that samples that are done may leave it."""
        parts, inputs = self.generation.parts, self.generation.run.inputs
        alone = not parts.acting and parts.shaper is None and not parts.observers
        plain = hf.only_warpers(self.generation.processor) and hf.plain_limits(self.generation.criteria) is not None
        kept = self.config.output_scores or self.config.output_logits
        return alone and plain and not kept and inputs is not None and hf.cache_of(inputs) is None

    def _keeps_all(self, cache: Any) -> bool:
        """Whether the cache will still hold every token when the texts are at their longest."""
        windows = [layer.sliding_window for layer in cache.layers if hasattr(layer, "sliding_window")]
        return prefixes.holds_all(cache) and all(self.config.max_length < window for window in windows)

    def _means(self, rows: Sequence[int] | None) -> Means:
        """What is needed to generate these rows (None: all of them)."""
        return Means.of(self.generation, self.setup, self.tokenizer, self.start, self.seed, rows)

    def _seed(self) -> int | None:
        """The seed of draws that depend on sample, position and attempt; None where nothing is ever rolled back, so
        that `generate`'s own draws are kept."""
        selector = self.generation.parts.selector
        if isinstance(selector, Drawing):
            return selector.seed
        if self.guard.seed is not None:
            return int(self.guard.seed)
        if not self.config.do_sample:
            return 0  # greedy decoding is reproducible, so its rewritten sentences are as well
        several = self.rules.rewrite or self.guard.action == "best_of"
        return fresh_seed() if several else None

    def _asker(self, writer: Writer, own: bool = False) -> Asker | None:
        """What asks this generation's questions: over the texts' cache if that holds all tokens, else over its own."""
        judge = self.setup.judge
        if judge is None or judge.mode == "risk":
            return None
        if self.asker is None:
            edited = any(part.edits_prompt for part in self.generation.parts.acting)
            inputs = self.generation.run.inputs
            if inputs is not None and not any(inputs.get(name) is not None for name in PIXELS):
                inputs = None
            self.asker = Asker(
                self.model,
                self.generation.run.processor,
                self.session,
                self.start.ids,
                self.start.kwargs,
                None if inputs is None else dict(inputs),
                writer.places,
                own or edited or isinstance(writer.strand, Alone),
            )
        return self.asker
