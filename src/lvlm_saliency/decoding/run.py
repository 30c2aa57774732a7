"""The decode loop: one token per sample and step."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.parts import Generation
from lvlm_saliency.attention.state import Capture
from lvlm_saliency.model.output import Cost, GenerateOutput, TokenRecord
from lvlm_saliency.tracing.logits import finite_logits


class Run:
    """One generation by the ordinary loop, with its state from step to step."""

    def __init__(self, generation: Generation):
        self.generation, self.model, self.config = generation, generation.model, generation.config
        self.processor, self.criteria, self.streamer = generation.processor, generation.criteria, generation.streamer
        self.session, parts = generation.session, generation.parts
        self.selector, self.shaper, self.observers = parts.selector, parts.shaper, parts.observers
        self.ids = generation.input_ids
        self.steps: list[list[TokenRecord]] = [[] for _ in self.ids]
        self.active = torch.ones(len(self.ids), dtype=torch.bool, device=self.ids.device)
        self.alive = self.active.tolist()
        self.pad = hf.pad_token(self.config)
        self.kept: dict[str, list[Any]] = {name: [] for name in ("scores", "logits", "hidden_states")}
        self.begin = time.perf_counter()

    def finish(self) -> GenerateOutput:
        """Decode to the end."""
        model_kwargs = self.generation.model_kwargs
        outputs = hf.prefill(self.model, self.ids, self.config, model_kwargs)
        capture = None
        # Without a session no part acts on the forward calls, and they are not counted.
        call = hf.decode_call(self.model, self.config, model_kwargs) if self.session is None else self.model
        forwards = hf.prefill_calls(self.ids, self.config)
        for step in range(self.config.max_length - self.ids.shape[1]):
            if step:
                capture = None if self.selector is None else self.selector.capture()
                new = 1 if model_kwargs.get("use_cache", True) else None
                forward = hf.next_inputs(self.model, self.ids, new, model_kwargs)
                outputs = self._forward(call, forward, capture)
                forwards += 1
            model_kwargs = hf.advanced(self.model, outputs, model_kwargs)
            chosen = self._choose(step, outputs, capture)
            del outputs
            if self._append(chosen):
                break
        if self.streamer is not None:
            self.streamer.end()
        return self._output(model_kwargs, forwards if self.session is None else self.session.forwards)

    def _forward(self, call: Any, inputs: dict[str, Any], capture: Capture | None) -> Any:
        if self.session is None:
            return call(**inputs, return_dict=True)
        self.session.capture = capture
        try:
            with torch.no_grad():  # a capture enables gradients inside the call, from its lowest layer upward
                return call(**inputs, return_dict=True)
        finally:
            self.session.capture = None

    def _choose(self, step: int, outputs: Any, capture: Capture | None) -> Tensor:
        """The next token of each sample, `[B]`; finished samples get the padding token."""
        raw = finite_logits(outputs.logits.detach()[:, -1]).to(self.ids.device, copy=True)
        raw, processed = self._processed(raw)
        self._keep(outputs, raw, processed)
        made: list[TokenRecord | None]
        if self.selector is not None:
            with torch.enable_grad():  # without a cache some families compute the logits of all rows
                newest = outputs.logits[:, -1:]
            made = list(self.selector.choose(step, newest, processed, capture, self.alive))
            tokens = torch.tensor([s.token_id if s else 0 for s in made], device=self.ids.device)
        else:
            if self.config.do_sample:
                tokens = torch.multinomial(torch.softmax(processed, dim=-1), num_samples=1).squeeze(1)
            else:
                tokens = torch.argmax(processed, dim=-1)
            made = [TokenRecord(t) for t in tokens.tolist()]
        for sample, (alive, record) in enumerate(zip(self.alive, made, strict=True)):
            if alive and record is not None:
                self.steps[sample].append(record)
                self._tell(sample, step, record, processed[sample])
        if self.pad is None or all(self.alive):
            return tokens
        return torch.where(self.active, tokens, self.pad.to(tokens.device))

    def _tell(self, sample: int, step: int, record: TokenRecord, logits: Tensor) -> None:
        """Tell the observers that a token is final."""
        for observer in self.observers:
            observer.hear(sample, step, record, logits)

    def _processed(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The logits after the shaper, and those after processors and warpers, from which the token is chosen. A shaper
        may ask to act after the processors."""
        if self.shaper is None:
            return raw, self.processor(self.ids, raw)
        processor: Any = self.processor
        if self.shaper.behind_processors:
            before: Any
            before, processor = hf.warpers_apart(processor)
            raw = before(self.ids, raw)
        raw = self.shaper.shaped(raw)
        return raw, processor(self.ids, raw)

    def _keep(self, outputs: Any, raw: Tensor, processed: Tensor) -> None:
        if self.config.output_scores:
            self.kept["scores"].append(processed)
        if self.config.output_logits:
            self.kept["logits"].append(raw)
        if self.config.output_hidden_states:
            self.kept["hidden_states"].append(outputs.hidden_states)

    def _append(self, tokens: Tensor) -> bool:
        """Add the tokens to the texts and say whether every sample has ended."""
        self.ids = torch.cat([self.ids, tokens[:, None]], dim=-1)
        if self.shaper is not None:
            self.shaper.append(tokens)
        if self.streamer is not None:
            self.streamer.put(tokens.cpu())
        self.active = self.active & ~self.criteria(self.ids, tuple(self.kept["scores"]) or None)
        self.alive = self.active.tolist()
        return not any(self.alive)

    def _output(self, model_kwargs: dict[str, Any], forwards: int) -> GenerateOutput:
        kept = sum(map(len, self.steps))
        cost = Cost(
            forwards=forwards,
            backwards=0 if self.selector is None else self.selector.backwards,
            drafted=kept,
            kept=kept,
            seconds=time.perf_counter() - self.begin,
        )
        scores, logits, hidden = (tuple(self.kept[name]) or None for name in ("scores", "logits", "hidden_states"))
        return GenerateOutput(
            self.ids,
            self.steps,
            cost,
            scores=scores,
            logits=logits,
            hidden_states=hidden,
            past_key_values=hf.cache_of(model_kwargs),
            eos_token_id=hf.end_tokens(self.config),
            pad_token_id=None if self.pad is None else int(self.pad),
        )
