"""SGRS in blocks: draft tokens on credit, verify them in one pass, keep what holds (method section 3).

The decisions are those of the step-by-step execution. Draws are functions of (seed, sample, step, draw), so a drafted
first draw is the draw that a step would have made. Its S comes from one pass over all the block's rows; where S lies
too near its threshold for float arithmetic to tell, and where it lies below, that one position is decided by an
ordinary step, with the ordinary step's own numbers.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from lvlm_saliency import caches, hf
from lvlm_saliency.attention.step import Capture
from lvlm_saliency.decoding.run import Run
from lvlm_saliency.decoding.scoring import OutputScores
from lvlm_saliency.decoding.steps import GenerateOutput, Step
from lvlm_saliency.tracing.one_pass import finite_logits

MARGIN = {torch.float32: 1e-4, torch.float64: 1e-8}
"""How near to its threshold, as a share of it, S may lie before an ordinary step decides; other dtypes: 0.05."""
SMALLEST, LARGEST = 2, 32
WARM, PAUSE, PATIENCE = 4, 16, 4
"""Ordinary steps before the first block, and between two looks at whether blocks would be cheaper; and how many looks
may fail before one is tried in any case."""


@dataclass
class Draft:
    """One drafted position: what was proposed to every sample and drawn, and which samples were still writing."""

    proposals: list
    drawn: list[int]
    active: list[bool]

    def token(self, sample: int) -> int:
        return self.proposals[sample].tokens[self.drawn[sample]]


class Pace:
    """Chooses the block size, and whether blocks pay, from what was measured so far in this generation."""

    def __init__(self, fixed: bool, share: float):
        self.fixed = fixed  # blocks whatever they cost
        self.share = share  # f: the part of the layers that the backward pass crosses
        self.refused, self.seen = 0.2, 10.0  # a prior of 2 % refusals, soon outweighed
        self.seconds: dict[str, deque[float]] = {}
        self.steps_left, self.looks = 0 if fixed else WARM, 0

    def observe(self, refused: bool) -> None:
        """Note a decided position, and whether any sample's first draw was refused there: that is where a block of the
        whole batch ends. The past fades, so that the rate follows the text."""
        self.refused, self.seen = 0.98 * self.refused + refused, 0.98 * self.seen + 1

    def timed(self, name: str, seconds: float) -> None:
        """Remember what an action cost lately."""
        self.seconds.setdefault(name, deque(maxlen=9)).append(seconds)

    @property
    def rate(self) -> float:
        return self.refused / self.seen

    def size(self) -> int:
        """The block size that minimises (1 + f) / B + r B / 2: sqrt(2 (1 + f) / r)."""
        best = math.sqrt(2 * (1 + self.share) / max(self.rate, 1e-6))
        return max(SMALLEST, min(LARGEST, round(best)))

    def next_is_block(self) -> bool:
        """Whether a block comes next, or an ordinary step."""
        if self.fixed:
            return True
        if self.steps_left == 0:
            self.looks += 1
            if self.blocks_pay() or self.looks > PATIENCE:
                self.looks = 0
                return True
            self.steps_left = PAUSE
        self.steps_left -= 1
        return False

    def blocks_pay(self) -> bool:
        """Whether the next tokens are cheaper in a block than one by one; blocks are tried once to know."""
        if "verify" not in self.seconds:
            return True
        size, keep = self.size(), 1 - self.rate
        failed = 1 - keep**size
        kept = keep * failed / max(self.rate, 1e-9)  # expected tokens before the first refusal, at most `size`
        block = size * self._cost("draft") + self._cost("verify") + failed * self._cost("step")
        return block / (kept + failed) < self._cost("step")

    def _cost(self, name: str) -> float:
        return statistics.median(self.seconds[name])  # the first call of each kind is far slower than the rest


def obstacle(model, config, model_kwargs: dict) -> str:
    """Why blocks cannot be used in this generation; empty where they can."""
    if hf.is_hybrid(model):
        return "layers without attention cannot take tokens back"
    if not model_kwargs.get("use_cache", True) or not caches.can_roll_back(model_kwargs.get("past_key_values")):
        return "the cache cannot take tokens back: use the default dynamic cache"
    if config.output_scores or config.output_logits or config.output_hidden_states:
        return "per-step scores, logits and hidden states are kept step by step only"
    return ""


class BlockRun(Run):
    """A generation under SGRS that drafts and verifies; `selector` is the gate whose decisions it makes."""

    def __init__(self, *args, fixed: bool = False):
        super().__init__(*args)
        layers = hf.attention_layers(self.model)
        self.pace = Pace(fixed, 1 - layers.index(self.selector.layers[0]) / len(layers))
        self.drafted = 0

    def finish(self, model_kwargs: dict) -> GenerateOutput:
        prompt_length = self.ids.shape[1]
        outputs = hf.prefill(self.model, self.ids, self.config, model_kwargs)
        self.kwargs = hf.advanced(self.model, outputs, model_kwargs)
        self.cache = self.kwargs["past_key_values"]
        caches.allow_rollback(self.cache)
        self.start, self.known = prompt_length, prompt_length + 1
        done = self._decide(0, outputs.logits, None)
        del outputs
        while not done and self.ids.shape[1] < self.config.max_length:
            done = self._block() if self.pace.next_is_block() else self._step()
        if self.streamer is not None:
            self.streamer.end()
        self.kwargs["past_key_values"] = self.cache
        return self._output(self.kwargs)

    # --- ordinary steps ---

    def _step(self) -> bool:
        """One token as the step-by-step execution decides it; True when every sample has ended."""
        begin = time.perf_counter()
        self._rewind(self.ids.shape[1] - 1)
        capture = self.selector.capture()
        logits = self._forward(self.ids, 1, capture)
        done = self._decide(self.ids.shape[1] - self.start, logits, capture)
        self.pace.timed("step", time.perf_counter() - begin)
        return done

    def _decide(self, step: int, logits: Tensor, capture: Capture | None) -> bool:
        raw = finite_logits(logits.detach()[:, -1]).to(self.ids.device, copy=True)
        active = self.active.tolist()
        made = self.selector.choose(step, logits, self.processor(self.ids, raw), capture, active)
        if capture is not None:
            self.pace.observe(any(s.rejected for s in made if s))
        self.drafted += sum(active)
        return self._commit(made)

    def _commit(self, made: list[Step | None]) -> bool:
        """Put one decided token per unfinished sample down."""
        for sample, record in enumerate(made):
            if record is not None:
                self.steps[sample].append(record)
        return self._append(self._padded([s.token_id if s else None for s in made]))

    def _padded(self, tokens: list[int | None]) -> Tensor:
        pad = 0 if self.pad is None else int(self.pad)
        return torch.tensor([pad if t is None else t for t in tokens], device=self.ids.device)

    # --- blocks ---

    def _block(self) -> bool:
        """Draft, verify, keep the longest prefix that holds for every sample, and decide the position behind it."""
        room = self.config.max_length - self.ids.shape[1]
        begin = time.perf_counter()
        drafts, ids = self._draft(min(self.pace.size(), room))
        middle = time.perf_counter()
        self.pace.timed("draft", (middle - begin) / len(drafts))
        scores = self._verify(ids, len(drafts))
        self.pace.timed("verify", time.perf_counter() - middle)
        held = self._held(drafts, scores)
        done = False
        for position in range(held):
            made = [
                self._record(sample, drafts[position], scores[sample][position]) if alive else None
                for sample, alive in enumerate(drafts[position].active)
            ]
            self.pace.observe(False)
            done = self._commit(made)
        return done or (held < len(drafts) and self._step())

    def _draft(self, size: int) -> tuple[list[Draft], Tensor]:
        """Up to `size` first draws, accepted on credit; stops where every sample has ended."""
        drafts, ids, active = [], self.ids, self.active
        self._rewind(ids.shape[1] - 1)
        while len(drafts) < size and bool(active.any()):
            raw = finite_logits(self._forward(ids, 1)[:, -1]).to(ids.device, copy=True)
            step = ids.shape[1] - self.start
            proposals = self.selector.propose(self.processor(ids, raw))
            drawn = [self.selector.draw(i, step, 0, proposal.weights) for i, proposal in enumerate(proposals)]
            draft = Draft(proposals, drawn, active.tolist())
            drafts.append(draft)
            tokens = self._padded([draft.token(i) if alive else None for i, alive in enumerate(draft.active)])
            ids = torch.cat([ids, tokens[:, None]], dim=-1)
            active = active & ~self.criteria(ids, None)
            self.drafted += sum(draft.active)
        return drafts, ids

    def _verify(self, ids: Tensor, count: int) -> list[list[float]]:
        """S of the last `count` tokens of `ids`, from one forward and one backward over their query rows."""
        self._rewind(ids.shape[1] - count - 1)
        scores = OutputScores(self.selector.layers)
        logits = self._forward(ids[:, :-1], count, scores.capture())
        self.selector.backwards += 1
        return scores.of(logits, ids[:, -count:]).tolist()

    def _held(self, drafts: list[Draft], scores: list[list[float]]) -> int:
        """How many drafted positions surely pass the test for every sample that is still writing."""
        held = len(drafts)
        margin = 1 + MARGIN.get(self.model.dtype, 0.05)
        for sample, values in enumerate(scores):
            history = self.selector.history[sample].copy()
            for position, draft in enumerate(drafts[:held]):
                if not draft.active[sample]:
                    break
                threshold = self.selector.threshold(history)
                if threshold is not None and not values[position] >= threshold * margin:
                    held = position
                    break
                history.append(values[position])
        return held

    def _record(self, sample: int, draft: Draft, score: float) -> Step:
        history = self.selector.history[sample]
        threshold = self.selector.threshold(history)
        history.append(score)
        token = draft.token(sample)
        candidates = {c: score if c == token else None for c in draft.proposals[sample].tokens}
        return Step(token, score, threshold, 1, candidates)

    # --- the cache ---

    def _forward(self, ids: Tensor, new: int, capture: Capture | None = None) -> Tensor:
        """Logits `[B, new, V]` of the last `new` tokens of `ids`, which the cache does not hold yet."""
        length = ids.shape[1]
        if length > self.known:
            self.kwargs = hf.extended(self.model, {}, self.kwargs, length - self.known)
            self.known = length
        inputs = hf.next_inputs(self.model, ids, new, hf.cut(self.kwargs, hf.PER_TOKEN, slice(0, length)))
        if "logits_to_keep" in inputs:
            inputs["logits_to_keep"] = new
        self.state.capture = capture
        try:
            with torch.no_grad():
                return self.model(**inputs, return_dict=True).logits
        finally:
            self.state.capture = None

    def _rewind(self, length: int) -> None:
        """Crop the cache to the first `length` tokens."""
        caches.crop(self.cache, int(self.cache.get_seq_length()) - length)

    def _output(self, model_kwargs: dict) -> GenerateOutput:
        out = super()._output(model_kwargs)
        out.cost.drafted = self.drafted
        return out
