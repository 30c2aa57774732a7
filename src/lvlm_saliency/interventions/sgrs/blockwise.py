"""SGRS in blocks: draft tokens, verify them in one pass, keep those that pass.

The decisions are those of the step-by-step execution. Draws are functions of (seed, sample, step, draw), so a drafted
first draw is the draw that a step would have made. Its S comes from one pass over all rows of the block. Where S is
below its threshold, or too close to it for float arithmetic to tell, an ordinary step decides that position with its
own numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.parts import Generation, Loop
from lvlm_saliency.attention.state import Capture
from lvlm_saliency.decoding.ragged import RaggedBatch
from lvlm_saliency.decoding.run import Run
from lvlm_saliency.errors import SettingError
from lvlm_saliency.hf import caches
from lvlm_saliency.interventions.sgrs.block_size import BlockSize, cost_history_of
from lvlm_saliency.interventions.sgrs.rejection import Proposal, SaliencyGate
from lvlm_saliency.interventions.sgrs.scoring import OutputScores
from lvlm_saliency.model.output import GenerateOutput, TokenRecord
from lvlm_saliency.tracing.logits import finite_logits

MARGIN = {torch.float32: 1e-4, torch.float64: 1e-8}
"""By dtype, the distance of S from its threshold, as a share of it, below which an ordinary step decides; other dtypes:
0.05."""


@dataclass
class Draft:
    """One drafted position: the proposals and draws of every sample, and which samples were not finished. logits: those
    drawn from, `[B, V]`, kept where there are observers."""

    proposals: list[Proposal]
    drawn: list[int]
    active: list[bool]
    logits: Tensor | None = None

    def token(self, sample: int) -> int:
        return self.proposals[sample].tokens[self.drawn[sample]]


@dataclass
class Blocks(Loop):
    """The loop of SGRS in blocks; its choices are those of the selector. fixed: always in blocks, whatever they cost;
    refused where blocks are not possible."""

    name: str
    gate: SaliencyGate
    fixed: bool

    def decode(self, generation: Generation) -> GenerateOutput:
        reason = obstacle(generation)
        if reason and self.fixed:
            raise SettingError(f"{self.name}: execution='blockwise' is not possible here: {reason}")
        return Run(generation).finish() if reason else BlockRun(generation, self.gate, self.fixed).finish()


def obstacle(generation: Generation) -> str:
    """Why blocks cannot be used in this generation; "" where they can."""
    config, kwargs, parts = generation.config, generation.model_kwargs, generation.parts
    if parts.shaper is not None:
        return "another method makes the logits, one step at a time"
    if any(observer.steers for observer in parts.observers):
        return "a method changes later tokens by those already chosen, so that none can be drafted ahead"
    if hf.is_hybrid(generation.model):
        return "layers without attention cannot take tokens back"
    if not kwargs.get("use_cache", True) or not caches.can_roll_back(hf.cache_of(kwargs)):
        return "the cache cannot take tokens back: use the default dynamic cache"
    if config.output_scores or config.output_logits or config.output_hidden_states:
        return "per-step scores, logits and hidden states are kept step by step only"
    return ""


class BlockRun(Run):
    """A generation under SGRS that drafts and verifies. gate: the selector whose decisions it makes."""

    def __init__(self, generation: Generation, gate: SaliencyGate, fixed: bool):
        super().__init__(generation)
        self.gate, self.open_session = gate, generation.open_session
        layers = hf.attention_layers(self.model)
        setting = repr(replace(gate.settings, seed=None)), tuple(gate.layers), len(self.ids)
        share = 1 - layers.index(gate.layers[0]) / len(layers)
        self.block_size = BlockSize(fixed, share, cost_history_of(self.model, setting))
        self.drafted = self.streamed = 0
        self.ragged = False

    def finish(self) -> GenerateOutput:
        model_kwargs = self.generation.model_kwargs
        outputs = hf.prefill(self.model, self.ids, self.config, model_kwargs)
        kwargs = hf.advanced(self.model, outputs, model_kwargs)
        self.cache = hf.cache_of(kwargs)
        # Each sample keeps its own number of tokens of a block, unless a method does not handle shifted positions or
        # the cache holds something beside keys and values.
        mind = all(part.minds_shift for part in self.open_session.acting)
        self.ragged = mind and caches.is_aligned(self.cache)
        self.block_size.batch = len(self.ids) if self.ragged else 1
        caches.allow_rollback(self.cache)
        self.batch = RaggedBatch(self.model, self.ids, kwargs, 0 if self.pad is None else int(self.pad))
        self.start = self.streamed = self.ids.shape[1]
        self._decide(outputs.logits, None)
        del outputs
        while any(self.alive):
            if self.block_size.next_is_block():
                self._block()
            else:
                self._step()
        if self.streamer is not None:
            self.streamer.end()
        self.batch.settle(self.cache, self.alive)
        self.ids = self.batch.ids[:, : max(self.batch.ends)]
        out = self._output({hf.CACHE: self.cache}, self.open_session.forwards)
        out.cost.drafted = self.drafted
        return out

    # --- ordinary steps ---

    def _step(self) -> None:
        """Decide one token of every sample by an ordinary step."""
        begin = time.perf_counter()
        capture = self.gate.capture()
        refused = self._decide(self._logits(1, capture), capture)
        self.block_size.timed("refusal" if refused else "step", time.perf_counter() - begin)

    def _decide(self, logits: Tensor, capture: Capture | None) -> bool:
        """Decide and append the next token of every sample. Returns whether any of them refused its first draw."""
        ends, active = self.batch.ends, self.alive
        steps = [end - self.start for end in ends]
        processed = self._processed_at(logits, ends)
        made = self.gate.choose(steps, logits, processed, capture, active)
        self.drafted += sum(active)
        refused = [bool(s.rejected) for s in made if s]
        if capture is not None:
            self._observe(refused)
        self._commit([[s] if s else [] for s in made], [processed])
        return any(refused)

    def _observe(self, refused: list[bool]) -> None:
        """Note one decided position for the choice of the block size."""
        self.block_size.observe(sum(refused) / len(refused) if self.ragged else any(refused))

    def _processed_at(self, logits: Tensor, ends: list[int]) -> Tensor:
        raw = finite_logits(logits.detach()[:, -1]).to(self.batch.ids.device, copy=True)
        return self.batch.by_length(ends, lambda ids: self.processor(ids, raw))

    def _ended(self, ends: list[int]) -> Tensor:
        return self.batch.by_length(ends, lambda ids: self.criteria(ids, None))

    def _commit(self, made: list[list[TokenRecord]], logits: Sequence[Tensor | None]) -> None:
        """Append decided tokens to the unfinished texts, each its own number of them; `logits` by position."""
        texts, before = self.batch, self.alive
        for sample, records in enumerate(made):
            for record, seen in zip(records, logits, strict=False):
                texts.put_one(sample, record.token_id)
                self.steps[sample].append(record)
                if seen is not None:
                    self._tell(sample, len(self.steps[sample]) - 1, record, seen[sample])
            texts.forget(sample)
        self.active = self.active & ~self._ended(texts.ends)
        self.alive = self.active.tolist()
        texts.settle(self.cache, self.alive if self.ragged else before)
        self._stream()

    def _stream(self) -> None:
        """Pass to the streamer the positions that every sample has decided."""
        ends = [end for end, alive in zip(self.batch.ends, self.alive, strict=True) if alive]
        ready = min(ends) if ends else max(self.batch.ends)
        if self.streamer is not None:
            for column in range(self.streamed, ready):
                self.streamer.put(self.batch.ids[:, column].cpu())
        self.streamed = max(self.streamed, ready)

    # --- blocks ---

    def _block(self) -> None:
        """Draft, verify, keep the longest prefix of each sample that passes, and decide the position after it."""
        left = self.config.max_length - min(
            end for end, alive in zip(self.batch.ends, self.alive, strict=True) if alive
        )
        begin = time.perf_counter()
        drafts = self._draft(self.block_size.blocks_of(left))
        middle = time.perf_counter()
        self.block_size.timed("draft", (middle - begin) / len(drafts))
        scores = self._verify(drafts)
        self.block_size.timed("verify", time.perf_counter() - middle)
        held = [self._held(sample, drafts, scores[sample]) for sample in range(len(scores))]
        alive = [sum(draft.active[sample] for draft in drafts) for sample in range(len(scores))]
        failed = any(h < a for h, a in zip(held, alive, strict=True))
        if not self.ragged and failed:
            shortest = min(h for h, a in zip(held, alive, strict=True) if h < a)
            held = [min(h, shortest) for h in held]
        for position in range(len(drafts)):
            seen = [sample for sample, h in enumerate(held) if position < h]
            if seen:
                self._observe([False] * len(seen))
        made = [
            [self._record(sample, draft, score) for draft, score in zip(drafts[:kept], scores[sample], strict=False)]
            for sample, kept in enumerate(held)
        ]
        self._commit(made, [draft.logits for draft in drafts])
        if failed and any(self.alive):
            self._step()

    def _draft(self, size: int) -> list[Draft]:
        """Up to `size` first draws, not verified yet; stops where every sample has ended."""
        drafts: list[Draft] = []
        ends, active = list(self.batch.ends), self.active
        while len(drafts) < size and bool(active.any()):
            processed = self._processed_at(self._logits(1), ends)
            proposals = self.gate.propose(processed)
            drawn = [
                self.gate.draw(i, ends[i] - self.start, 0, proposal.weights) for i, proposal in enumerate(proposals)
            ]
            draft = Draft(proposals, drawn, active.tolist(), processed if self.observers else None)
            drafts.append(draft)
            self.batch.put([draft.token(i) if alive else None for i, alive in enumerate(draft.active)], ends)
            ends = [end + alive for end, alive in zip(ends, draft.active, strict=True)]
            active = active & ~self._ended(ends)
            self.drafted += sum(draft.active)
        return drafts

    def _verify(self, drafts: list[Draft]) -> list[list[float]]:
        """S of every drafted token, from one forward and one backward over their query rows."""
        self.batch.rewind(self.cache)
        scores = OutputScores(self.gate.layers)
        capture = scores.capture()
        logits = self._logits(len(drafts), capture)
        self.gate.backwards += 1
        tokens = torch.tensor([[draft.token(i) for draft in drafts] for i in range(len(logits))])
        return scores.of(logits, tokens, capture).tolist()

    def _held(self, sample: int, drafts: list[Draft], scores: list[float]) -> int:
        """Number of drafted tokens of a sample that certainly pass."""
        history = self.gate.history[sample].copy()
        margin = 1 + MARGIN.get(self.model.dtype, 0.05)
        for position, draft in enumerate(drafts):
            if not draft.active[sample] or not math.isfinite(scores[position]):  # an ordinary step will raise the error
                return position
            threshold = self.gate.threshold(history)
            if threshold is not None and not scores[position] >= threshold * margin:
                return position
            history.append(scores[position])
        return len(drafts)

    def _record(self, sample: int, draft: Draft, score: float) -> TokenRecord:
        history = self.gate.history[sample]
        threshold = self.gate.threshold(history)
        history.append(score)
        token = draft.token(sample)
        candidates = {c: score if c == token else None for c in draft.proposals[sample].tokens}
        return TokenRecord(token, score, threshold, 1, candidates)

    # --- the cache ---

    def _logits(self, new: int, capture: Capture | None = None) -> Tensor:
        """Feed the next `new` tokens of every sample, which the cache does not hold yet; their logits `[B, new, V]`."""
        inputs = self.batch.inputs(int(self.cache.get_seq_length()), new)
        session = self.open_session
        if session.prompt is not None:
            session.prompt.shift = self.batch.shifts
        session.capture = capture
        try:
            with torch.no_grad():
                logits: Tensor = self.model(**inputs, return_dict=True).logits
                return logits
        finally:
            session.capture = None
