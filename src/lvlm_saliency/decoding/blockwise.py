"""SGRS in blocks: draft tokens on credit, verify them in one pass, keep what holds (method section 3).

The decisions are those of the step-by-step execution. Draws are functions of (seed, sample, step, draw), so a drafted
first draw is the draw that a step would have made. Its S comes from one pass over all the block's rows; where S lies
too near its threshold for float arithmetic to tell, and where it lies below, that one position is decided by an
ordinary step, with the ordinary step's own numbers.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.step import Capture
from lvlm_saliency.decoding.pace import Pace, memory_of
from lvlm_saliency.decoding.ragged import Texts
from lvlm_saliency.decoding.run import Run
from lvlm_saliency.decoding.scoring import OutputScores
from lvlm_saliency.decoding.steps import GenerateOutput, Step
from lvlm_saliency.hf import caches
from lvlm_saliency.tracing.logits import finite_logits

MARGIN = {torch.float32: 1e-4, torch.float64: 1e-8}
"""How near to its threshold, as a share of it, S may lie before an ordinary step decides; other dtypes: 0.05."""


@dataclass
class Draft:
    """One drafted position: what was proposed to every sample and drawn, and which samples were still writing."""

    proposals: list
    drawn: list[int]
    active: list[bool]

    def token(self, sample: int) -> int:
        return self.proposals[sample].tokens[self.drawn[sample]]


def obstacle(model, config, model_kwargs: dict) -> str:
    """Why blocks cannot be used in this generation; empty where they can."""
    if hf.is_hybrid(model):
        return "layers without attention cannot take tokens back"
    if not model_kwargs.get("use_cache", True) or not caches.can_roll_back(hf.cache_of(model_kwargs)):
        return "the cache cannot take tokens back: use the default dynamic cache"
    if config.output_scores or config.output_logits or config.output_hidden_states:
        return "per-step scores, logits and hidden states are kept step by step only"
    return ""


class BlockRun(Run):
    """A generation under SGRS that drafts and verifies; `selector` is the gate whose decisions it makes."""

    def __init__(self, *args, fixed: bool = False):
        super().__init__(*args)
        layers = hf.attention_layers(self.model)
        setting = repr(replace(self.selector.settings, seed=None)), tuple(self.selector.layers), len(self.ids)
        share = 1 - layers.index(self.selector.layers[0]) / len(layers)
        self.pace = Pace(fixed, share, memory_of(self.model, setting))
        self.drafted = self.streamed = 0
        self.ragged = False

    def finish(self, model_kwargs: dict) -> GenerateOutput:
        outputs = hf.prefill(self.model, self.ids, self.config, model_kwargs)
        kwargs = hf.advanced(self.model, outputs, model_kwargs)
        self.cache = hf.cache_of(kwargs)
        # Each sample keeps its own number of tokens of a block, unless a method counts positions in a way of its own or
        # the cache keeps something beside keys and values.
        mind = all(getattr(editor, "minds_shift", False) for editor in self.state.acting)
        self.ragged = mind and caches.is_aligned(self.cache)
        self.pace.batch = len(self.ids) if self.ragged else 1
        caches.allow_rollback(self.cache)
        self.texts = Texts(self.model, self.ids, kwargs, 0 if self.pad is None else int(self.pad))
        self.start = self.streamed = self.ids.shape[1]
        self._decide(outputs.logits, None)
        del outputs
        while any(self.alive):
            if self.pace.next_is_block():
                self._block()
            else:
                self._step()
        if self.streamer is not None:
            self.streamer.end()
        self.texts.settle(self.cache, self.alive)
        self.ids = self.texts.ids[:, : max(self.texts.ends)]
        out = self._output({hf.CACHE: self.cache}, self.state.forwards)
        out.cost.drafted = self.drafted
        return out

    # --- ordinary steps ---

    def _step(self) -> None:
        """One token of every sample as the step-by-step execution decides it."""
        begin = time.perf_counter()
        capture = self.selector.capture()
        refused = self._decide(self._logits(1, capture), capture)
        self.pace.timed("refusal" if refused else "step", time.perf_counter() - begin)

    def _decide(self, logits: Tensor, capture: Capture | None) -> bool:
        """The next token of every sample, put down; whether any of them refused its first draw."""
        ends, active = self.texts.ends, self.alive
        steps = [end - self.start for end in ends]
        made = self.selector.choose(steps, logits, self._processed(logits, ends), capture, active)
        self.drafted += sum(active)
        refused = [bool(s.rejected) for s in made if s]
        if capture is not None:
            self._observe(refused)
        self._commit([[s] if s else [] for s in made])
        return any(refused)

    def _observe(self, refused: list[bool]) -> None:
        """Tell the pace of one decided position: the share of refusals where each sample goes its own way."""
        self.pace.observe(sum(refused) / len(refused) if self.ragged else any(refused))

    def _processed(self, logits: Tensor, ends: list[int]) -> Tensor:
        raw = finite_logits(logits.detach()[:, -1]).to(self.texts.ids.device, copy=True)
        return self.texts.by_length(ends, lambda ids: self.processor(ids, raw))

    def _ended(self, ends: list[int]) -> Tensor:
        return self.texts.by_length(ends, lambda ids: self.criteria(ids, None))

    def _commit(self, made: list[list[Step]]) -> None:
        """Put decided tokens of unfinished samples down, each sample its own number of them."""
        texts, before = self.texts, self.alive
        for sample, records in enumerate(made):
            for record in records:
                texts.put_one(sample, record.token_id)
            self.steps[sample].extend(records)
            texts.forget(sample)
        self.active = self.active & ~self._ended(texts.ends)
        self.alive = self.active.tolist()
        texts.settle(self.cache, self.alive if self.ragged else before)
        self._stream()

    def _stream(self) -> None:
        """Hand on the positions that every sample has decided."""
        ends = [end for end, alive in zip(self.texts.ends, self.alive, strict=True) if alive]
        ready = min(ends) if ends else max(self.texts.ends)
        if self.streamer is not None:
            for column in range(self.streamed, ready):
                self.streamer.put(self.texts.ids[:, column].cpu())
        self.streamed = max(self.streamed, ready)

    # --- blocks ---

    def _block(self) -> None:
        """Draft, verify, keep of every sample the longest prefix that holds, and decide the position behind it."""
        left = self.config.max_length - min(
            end for end, alive in zip(self.texts.ends, self.alive, strict=True) if alive
        )
        begin = time.perf_counter()
        drafts = self._draft(self.pace.blocks_of(left))
        middle = time.perf_counter()
        self.pace.timed("draft", (middle - begin) / len(drafts))
        scores = self._verify(drafts)
        self.pace.timed("verify", time.perf_counter() - middle)
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
        self._commit(made)
        if failed and any(self.alive):
            self._step()

    def _draft(self, size: int) -> list[Draft]:
        """Up to `size` first draws, accepted on credit; stops where every sample has ended."""
        drafts, ends, active = [], list(self.texts.ends), self.active
        while len(drafts) < size and bool(active.any()):
            logits = self._logits(1)
            proposals = self.selector.propose(self._processed(logits, ends))
            drawn = [
                self.selector.draw(i, ends[i] - self.start, 0, proposal.weights) for i, proposal in enumerate(proposals)
            ]
            draft = Draft(proposals, drawn, active.tolist())
            drafts.append(draft)
            self.texts.put([draft.token(i) if alive else None for i, alive in enumerate(draft.active)], ends)
            ends = [end + alive for end, alive in zip(ends, draft.active, strict=True)]
            active = active & ~self._ended(ends)
            self.drafted += sum(draft.active)
        return drafts

    def _verify(self, drafts: list[Draft]) -> list[list[float]]:
        """S of every drafted token, from one forward and one backward over their query rows."""
        self.texts.rewind(self.cache)
        scores = OutputScores(self.selector.layers)
        capture = scores.capture()
        logits = self._logits(len(drafts), capture)
        self.selector.backwards += 1
        tokens = torch.tensor([[draft.token(i) for draft in drafts] for i in range(len(logits))])
        return scores.of(logits, tokens, capture).tolist()

    def _held(self, sample: int, drafts: list[Draft], scores: list[float]) -> int:
        """How many drafted tokens of a sample surely pass the test."""
        history = self.selector.history[sample].copy()
        margin = 1 + MARGIN.get(self.model.dtype, 0.05)
        for position, draft in enumerate(drafts):
            if not draft.active[sample] or not math.isfinite(scores[position]):  # a step of its own says what is wrong
                return position
            threshold = self.selector.threshold(history)
            if threshold is not None and not scores[position] >= threshold * margin:
                return position
            history.append(scores[position])
        return len(drafts)

    def _record(self, sample: int, draft: Draft, score: float) -> Step:
        history = self.selector.history[sample]
        threshold = self.selector.threshold(history)
        history.append(score)
        token = draft.token(sample)
        candidates = {c: score if c == token else None for c in draft.proposals[sample].tokens}
        return Step(token, score, threshold, 1, candidates)

    # --- the cache ---

    def _logits(self, new: int, capture: Capture | None = None) -> Tensor:
        """Logits `[B, new, V]` of the next `new` tokens of every sample, which the cache does not hold yet."""
        inputs = self.texts.inputs(int(self.cache.get_seq_length()), new)
        self.state.prompt.shift = self.texts.shifts
        self.state.capture = capture
        try:
            with torch.no_grad():
                return self.model(**inputs, return_dict=True).logits
        finally:
            self.state.capture = None
