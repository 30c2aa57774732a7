"""A session: the attention function switched on for one model, for the length of a `with` block.

The state lives in the calls themselves. A hook on the decoder puts a `Step` into each forward call's keywords; nothing
is kept in module globals, so that threads may work on several models, or on one, at the same time.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import cache_graph, hf
from lvlm_saliency.attention.step import STEP, Capture, Editor, Step
from lvlm_saliency.regions import placeholder_ids


@dataclass
class Prompt:
    """The prompt of a call. length: n0; image, padding: bool `[batch, n0]`, which positions hold pictures and which
    hold nothing, None where there are none; shift: see `Place`."""

    length: int
    image: Tensor | None = None
    padding: Tensor | None = None
    shift: Tensor | None = None

    @classmethod
    def read(cls, model, ids: Tensor | None, mask: Tensor | None, length: int) -> Prompt:
        """What token ids `[batch, n0]` and the attention mask say."""
        image = padding = None
        if isinstance(ids, Tensor) and ids.dim() == 2 and ids.shape[1] >= length:
            ids = ids[:, :length]
            image = torch.isin(ids, torch.tensor(placeholder_ids(model), dtype=ids.dtype, device=ids.device))
        if isinstance(mask, Tensor) and mask.dim() == 2 and mask.shape[1] >= length:
            padding = mask[:, :length] == 0
        return cls(length, *(m if m is not None and bool(m.any()) else None for m in (image, padding)))


@dataclass
class Session:
    """What an open `session` knows.

    prompt: may be set by the one who opened it, or its length alone; the rest is then read off the calls.
    capture: may be set and cleared between forward calls. forwards: how often the decoder was called.
    acting: the editors of the latest call, those of enclosing sessions among them; traits: some editors,
    and what those say of each layer (`Step.traits`); numbers: see `Step`.
    calls.step: the `Step` of the call that this thread is in, for hooks inside the model.
    """

    model: Any
    editors: Sequence[Editor]
    thread: int | None
    prompt_length: int | None = None
    prompt: Prompt | None = None
    capture: Capture | None = None
    forwards: int = 0
    acting: tuple[Editor, ...] = ()
    traits: tuple[tuple[Editor, ...], dict[int, tuple | None]] = ((), {})
    numbers: Mapping[Any, int] = field(default_factory=dict)
    prompts: weakref.WeakKeyDictionary = field(default_factory=weakref.WeakKeyDictionary)
    calls: threading.local = field(default_factory=threading.local)

    def step(self, past: int, new: int, cache, outer: Step | None) -> Step:
        """The state for one forward call, on top of that of an enclosing session."""
        editors = tuple(self.editors) if outer is None else (*outer.editors, *self.editors)
        self.acting = editors
        known = self.traits  # read once and put back whole: another thread may come in between
        if len(editors) != len(known[0]) or any(a is not b for a, b in zip(editors, known[0], strict=True)):
            known = self.traits = editors, {}
        capture = self.capture if self.capture is not None or outer is None else outer.capture
        prompt = self._prompt(past, new, cache)
        step = Step(past, new, prompt.length, editors, capture, prompt.image, prompt.padding, cache, prompt.shift)
        step.traits, step.numbers = known[1], self.numbers
        return step

    def _prompt(self, past: int, new: int, cache) -> Prompt:
        if self.prompt is not None:
            return self.prompt
        # What is fed over an empty cache is the prompt, the rest is output, unless its length was said.
        length = self.prompt_length
        if past == 0 or cache is None:
            seen = getattr(self.calls, "inputs", (None, None))
            found = Prompt.read(self.model, *seen, past + new if length is None else length)
            self.calls.prompt = found  # also of the copies of this cache, and of its beams
            if cache is not None:
                self.prompts[cache] = found
            return found
        return self.prompts.get(cache) or self._of_copies(past + new if length is None else length)

    def _of_copies(self, length: int) -> Prompt:
        latest = getattr(self.calls, "prompt", None)
        return latest if latest is not None and latest.length == length else Prompt(length)

    @contextmanager
    def acting_on(self, prompt: Prompt, editors: Sequence[Editor] = ()) -> Iterator[None]:
        """Forward calls inside the block belong to another input: its own prompt, nothing captured, more editors."""
        before = self.prompt, self.capture, self.editors
        self.prompt, self.capture, self.editors = prompt, None, (*self.editors, *editors)
        try:
            yield
        finally:
            self.prompt, self.capture, self.editors = before


@contextmanager
def session(model, editors: Sequence[Editor] = (), *, everywhere: bool = False) -> Iterator[Session]:
    """Switch the attention function on for `model`'s language model, and off again, whatever happens.

    Args:
        model: any supported transformers model.
        editors: methods whose `edit_rows` shapes the attention of every forward call inside the block, or whose
            `hooks(model, session)` returns handles of forward hooks, removed on exit.
        everywhere: also act on forward calls from other threads (a `with method(model)` block does; a trace or a
            generation acts on its own calls only).

    Raises:
        UnsupportedModelError: the model's attention cannot be captured, or training mode makes its calls draw numbers
            or go without a cache; the message says why.
    """
    decoder = hf.supported_decoder(model)
    hf.refuse_training(model)
    state = Session(
        model, tuple(e for e in editors if hasattr(e, "edit_rows")), None if everywhere else threading.get_ident()
    )

    known = hf.known_layers(model)
    state.numbers = known.renumbered

    def elsewhere() -> bool:
        return state.thread is not None and state.thread != threading.get_ident()

    def note_inputs(_module, args, kwargs):
        # The decoder itself gets embeddings; only the whole model sees which ids are pictures.
        if not elsewhere():
            state.calls.inputs = (kwargs.get("input_ids", args[0] if args else None), kwargs.get("attention_mask"))

    def carry_step(_module, args, kwargs):
        if elsewhere():
            return None
        if decoder.training:  # switched on since the block was opened
            hf.refuse_training(model)
        past, new, cache = hf.lengths(decoder, args, kwargs)
        state.forwards += 1
        step = state.calls.step = state.step(past, new, cache, kwargs.get(STEP))
        if step.capture is None and not step.editors:
            return None  # nothing to see or do: the call goes its own way
        if step.capture is not None and cache is not None:
            cache_graph.keep_graph_out_of_cache(cache, step.fresh, past)
        return args, {**kwargs, STEP: step}

    def hand_over(_module, args, kwargs):
        step = getattr(state.calls, "step", None)
        if step is None or (step.capture is None and not step.editors):
            return None
        return args, {**kwargs, STEP: step}

    def release_cache(_module, _args, kwargs, _output):
        state.calls.step = None
        for module in known.holders:
            cache_graph.detach_held(module, hf.HELD_STATES)
        if (cache := hf.cache_of(kwargs)) is not None:
            cache_graph.release_cache(cache)

    with hf.switched(model):
        hooks = [
            model.register_forward_pre_hook(note_inputs, with_kwargs=True),
            decoder.register_forward_pre_hook(carry_step, with_kwargs=True),
            decoder.register_forward_hook(release_cache, with_kwargs=True, always_call=True),
            *(module.register_forward_pre_hook(hand_over, with_kwargs=True) for module in known.deaf),
        ]
        try:
            for editor in editors:
                if hasattr(editor, "hooks"):
                    hooks.extend(editor.hooks(model, state))
            yield state
        finally:
            for hook in hooks:
                hook.remove()
