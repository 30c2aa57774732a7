"""A guarded generation from the prompt to its output: the loop that `generate` runs where a guard is given."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.prompts import Prompt
from lvlm_saliency.attention.session import Session, session
from lvlm_saliency.decoding.draws import fresh_seed
from lvlm_saliency.decoding.steps import Cost, GenerateOutput, Step
from lvlm_saliency.errors import SettingError
from lvlm_saliency.guard.draft import Draft
from lvlm_saliency.guard.events import Events, Tally
from lvlm_saliency.guard.features import Reader
from lvlm_saliency.guard.questions import Asker
from lvlm_saliency.guard.row import Row, Rules
from lvlm_saliency.guard.setup import Setup, set_up, spellings, tokenizer_of
from lvlm_saliency.guard.strands import Alone, Start, Straight, Strand, Together
from lvlm_saliency.guard.writer import Choice, Means, Writer
from lvlm_saliency.hf import caches, prefixes
from lvlm_saliency.model.regions import Regions, token_regions


def guarded(
    guard,
    methods: Sequence,
    model,
    input_ids: Tensor,
    logits_processor,
    stopping_criteria,
    generation_config,
    *,
    processor: Any,
    streamer=None,
    sample_ids=None,
    given: dict | None = None,
    **model_kwargs,
) -> GenerateOutput:
    """The loop, called by `model.generate` once everything is prepared. `methods` are those beside the guard; `given`
    the inputs before that."""
    begin = time.perf_counter()
    numbers = list(range(len(input_ids))) if sample_ids is None else list(sample_ids)
    if len(numbers) != len(input_ids):
        raise SettingError(f"{len(numbers)} sample_ids for {len(input_ids)} samples: give one number per sample")
    editors = [method for method in methods if hasattr(method, "edit_rows") or hasattr(method, "hooks")]
    with torch.inference_mode(False), torch.no_grad(), session(model, editors) as state:
        state.prompt = Prompt.read(model, input_ids, model_kwargs.get("attention_mask"), input_ids.shape[1])
        start = _read(model, state, input_ids, generation_config, model_kwargs)
        run = _Run(guard, methods, editors, model, processor, state, generation_config, numbers, given)
        run.write(start, logits_processor, stopping_criteria, streamer)
        return run.output(start, time.perf_counter() - begin)


def _read(model, state: Session, ids: Tensor, config, model_kwargs: dict) -> Start:
    """The prompt pass.

    Raises:
        SettingError: a cache that tokens cannot be taken back from.
    """
    cache = hf.cache_of(model_kwargs)
    if cache is None or getattr(cache, "is_compileable", False) or not model_kwargs.get("use_cache", True):
        kind = "without a cache (use_cache=False)" if cache is None else f"with a {type(cache).__name__}"
        raise SettingError(f"the guard takes tokens back, which {kind} cannot be done: leave the cache settings out")
    caches.forkable(cache)
    outputs = hf.prefill(model, ids, config, model_kwargs)
    kwargs = hf.advanced(model, outputs, model_kwargs)
    return Start(ids, kwargs, hf.cache_of(kwargs), outputs.logits[:, -1], state.prompt)


class _Run:
    """One generation: its rows, and what they are written with."""

    def __init__(self, guard, methods, editors, model, processor, state: Session, config, numbers, given):
        self.guard, self.methods, self.editors, self.model = guard, methods, editors, model
        self.processor, self.state, self.config, self.given = processor, state, config, given
        self.tokenizer = tokenizer_of(processor)
        self.setup: Setup = set_up(guard, model)
        self.tally = Tally()
        self.asker: Asker | None = None
        self.writers: list[Writer] = []
        judge = self.setup.judge
        ends = hf.end_tokens(config)
        rules = Rules(
            risk=None if judge is None else judge.risk,
            doubtful=None if judge is None else judge.doubtful,
            passes=None if judge is None else judge.passes,
            threshold=1.0 if judge is None else judge.threshold,
            rewrite=guard.action == "rewrite" and self.setup.acts,
            asks=judge is not None and judge.mode != "risk",
            local_tries=guard.local_tries,
            total_tries=guard.total_tries,
            per_sentence=guard.per_sentence,
            end=ends[0] if ends else None,
            verdicts=guard.verdicts,
        )
        self.rows = [Row(n, Draft(self.tokenizer, self.setup.vocabulary), rules, self.tally) for n in numbers]

    def write(self, start: Start, logits_processor, criteria, streamer) -> None:
        """Every text: all at once where the cache can hold samples at different lengths, else one after the other."""
        config = self.config
        if self.guard.action == "best_of":
            self._write_several(start, logits_processor, criteria, streamer)
            return
        mind = all(getattr(editor, "minds_shift", False) for editor in self.editors)
        plain = not hf.is_hybrid(self.model) and self._keeps_all(start)
        together = plain and (mind or len(self.rows) == 1)
        means = self._means(logits_processor, criteria, start)
        pad = hf.pad_token(config)
        filler = 0 if pad is None else int(pad)
        straight = not self.rows[0].rules.rewrite
        together = straight or together
        groups = [list(range(len(self.rows)))] if together else [[number] for number in range(len(self.rows))]
        listening = streamer is not None and len(groups) == 1
        for group in groups:
            one = start if together else start.rows(group)
            kind = Straight if straight else Together if together else Alone
            strand = kind(self.model, self.state, one, filler)
            put = (lambda ids: streamer.put(ids.cpu())) if listening else None
            own = means if together else self._alone(means, group[0])
            rows = [self.rows[number] for number in group]
            writer = Writer(own, rows, strand, group, self._asker(start, strand), put)
            self.writers.append(writer)
            writer.write(config.max_length - start.ids.shape[1])
        if streamer is not None:
            if not listening:
                for column in self._sequences(start)[:, start.ids.shape[1] :].T:
                    streamer.put(column.cpu())
            streamer.end()

    def _write_several(self, start: Start, logits_processor, criteria, streamer) -> None:
        """Several texts of every sample, of which the best supported one is kept. They share the answers to questions."""
        count = 1 + self.guard.samples
        origin = [number for number in range(len(self.rows)) for _ in range(count)]
        several = []
        for place, number in enumerate(origin):
            row = self.rows[number]
            draft = Draft(self.tokenizer, self.setup.vocabulary)
            several.append(Row(row.number, draft, row.rules, self.tally, margins=row.margins, candidate=place % count))
        pad = hf.pad_token(self.config)
        one = start.rows(origin)
        strand = Straight(self.model, self.state, one, 0 if pad is None else int(pad))
        means = self._means(logits_processor, criteria, one)
        writer = Writer(means, several, strand, origin, self._asker(start, strand, own=True), None)
        self.writers.append(writer)
        writer.write(self.config.max_length - start.ids.shape[1])
        # max keeps the first of equals: the text that was drawn as ever.
        best = [max(range(at, at + count), key=lambda n: several[n].worth) for at in range(0, len(origin), count)]
        self.rows = [several[n] for n in best]
        writer.scores, writer.logits = [writer.scores[n] for n in best], [writer.logits[n] for n in best]
        if streamer is not None:
            for column in self._sequences(start)[:, start.ids.shape[1] :].T:
                streamer.put(column.cpu())
            streamer.end()

    def _keeps_all(self, start: Start) -> bool:
        """Whether the cache will still hold every token when the texts are at their longest."""
        windows = [layer.sliding_window for layer in start.cache.layers if hasattr(layer, "sliding_window")]
        return prefixes.holds_all(start.cache) and all(self.config.max_length < window for window in windows)

    def _means(self, processor, criteria, start: Start) -> Means:
        model = None if self.setup.judge is None else self.setup.judge.model
        reader = None
        if model is not None:
            inputs = {"input_ids": start.ids, "attention_mask": start.kwargs.get("attention_mask")}
            mask = inputs["attention_mask"]
            inputs["attention_mask"] = None if mask is None else mask[:, : start.ids.shape[1]]
            reader = Reader(model, token_regions(self.model, inputs))
        sampler = next((method for method in self.methods if method.name == "sample"), None)
        seed = next((one.seed for one in (sampler, self.guard) if one is not None and one.seed is not None), None)
        config = self.config
        return Means(
            self.model,
            self.state,
            processor,
            criteria,
            spellings(self.tokenizer, self.setup.vocabulary),
            self._choice(sampler, seed),
            reader,
            hf.end_tokens(config),
            (bool(config.output_scores), bool(config.output_logits)),
        )

    def _choice(self, sampler, seed: int | None) -> Choice:
        """As `generate` chooses where nothing is ever taken back; by draws of each sample's own, of its position and of
        the attempt, where it is."""
        config = self.config
        if sampler is None and config.do_sample and self.guard.action != "best_of" and not self.rows[0].rules.rewrite:
            return Choice(True, 1.0, None)
        draws = config.do_sample or self.guard.action == "best_of" or self.rows[0].rules.rewrite
        seed = fresh_seed() if seed is None and draws else seed or 0
        return Choice(bool(config.do_sample), config.temperature or 1.0, seed)

    def _alone(self, means: Means, number: int) -> Means:
        """The same for one sample by itself."""
        if means.reader is None:
            return means
        regions = means.reader.regions
        masks = (mask[number : number + 1] for mask in (regions.system, regions.image, regions.prompt, regions.output))
        return replace(means, reader=Reader(means.reader.model, Regions(*masks)))

    def _asker(self, start: Start, strand: Strand, own: bool = False) -> Asker | None:
        """Who asks this generation's questions: over the texts' own cache where that is whole, else over its own."""
        judge = self.setup.judge
        if judge is None or judge.mode == "risk":
            return None
        if self.asker is None:
            edited = any(getattr(editor, "edits_prompt", True) for editor in self.editors)
            own = own or edited or isinstance(strand, Alone)

            def where() -> tuple[Any, list[int]]:
                return strand.cache, strand.shift

            self.asker = Asker(
                self.model, self.processor, self.state, start.ids, start.kwargs, self.given, where, own
            )
        return self.asker

    def output(self, start: Start, seconds: float) -> GenerateOutput:
        steps = [
            [Step(token, rollbacks=row.returns.get(at, 0)) for at, token in enumerate(row.draft.ids)]
            for row in self.rows
        ]
        kept = sum(map(len, steps))
        cost = Cost(
            forwards=self.state.forwards,
            drafted=sum(writer.drafted for writer in self.writers),
            kept=kept,
            seconds=seconds,
            rollbacks=sum(sum(row.returns.values()) for row in self.rows),
        )
        pad = hf.pad_token(self.config)
        out = GenerateOutput(
            self._sequences(start),
            steps,
            cost,
            eos_token_id=hf.end_tokens(self.config),
            pad_token_id=None if pad is None else int(pad),
            guard=[Events(row.events, row.judged) for row in self.rows],
        )
        if self.config.output_scores:
            out.scores = _by_step([scores for writer in self.writers for scores in writer.scores])
        if self.config.output_logits:
            out.logits = _by_step([logits for writer in self.writers for logits in writer.logits])
        return out

    def _sequences(self, start: Start) -> Tensor:
        pad = hf.pad_token(self.config)
        width = max(len(row.draft) for row in self.rows)
        answers = torch.full((len(self.rows), width), 0 if pad is None else int(pad), dtype=start.ids.dtype)
        for answer, row in zip(answers, self.rows, strict=True):
            answer[: len(row.draft)] = torch.tensor(row.draft.ids, dtype=start.ids.dtype)
        return torch.cat([start.ids, answers.to(start.ids.device)], dim=-1)


def _by_step(samples: list[list[Tensor]]) -> tuple[Tensor, ...]:
    """Per step float32 `[B, V]`; a text that has ended keeps its last row."""
    longest = max(map(len, samples))
    return tuple(torch.stack([steps[min(at, len(steps) - 1)] for steps in samples]) for at in range(longest))
