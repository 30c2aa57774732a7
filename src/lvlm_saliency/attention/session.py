"""A session: the attention function switched on for one model, for the length of a `with` block.

The state lives in the calls themselves. A hook on the decoder puts a `Step` into each forward call's keywords; nothing
is kept in module globals, so that threads may work on several models, or on one, at the same time.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lvlm_saliency import hf
from lvlm_saliency.attention.backend import STEP, Capture, Editor, Step


@dataclass
class Session:
    """What an open `session` knows. `capture` may be set and cleared between forward calls by the one who opened it;
    `forwards` counts the calls of the decoder."""

    editors: Sequence[Editor]
    thread: int | None
    prompt_length: int | None = None
    capture: Capture | None = None
    forwards: int = 0
    prompts: weakref.WeakKeyDictionary = field(default_factory=weakref.WeakKeyDictionary)

    def step(self, past: int, new: int, cache, outer: Step | None) -> Step:
        """The state for one forward call, on top of that of an enclosing session."""
        editors = tuple(self.editors) if outer is None else (*outer.editors, *self.editors)
        capture = self.capture if self.capture is not None or outer is None else outer.capture
        return Step(past, new, self._prompt_length(past, new, cache), editors, capture)

    def _prompt_length(self, past: int, new: int, cache) -> int:
        if self.prompt_length is not None:
            return self.prompt_length
        # In a bare `with method(model)` block: what is fed over an empty cache is the prompt, the rest is output.
        if cache is None:
            return past + new
        if past == 0:
            self.prompts[cache] = new
        return self.prompts.get(cache, past + new)


@contextmanager
def session(model, editors: Sequence[Editor] = (), *, everywhere: bool = False) -> Iterator[Session]:
    """Switch the attention function on for `model`'s language model, and off again, whatever happens.

    Args:
        model: any supported transformers model.
        editors: methods whose `edit_rows` shapes the attention of every forward call inside the block.
        everywhere: also act on forward calls from other threads (a `with method(model)` block does; a trace or a
            generation acts on its own calls only).

    Raises:
        UnsupportedModelError: the model's attention cannot be captured; the message says why.
    """
    decoder = hf.supported_decoder(model)
    state = Session(tuple(editors), None if everywhere else threading.get_ident())

    def carry_step(_module, args, kwargs):
        if state.thread is not None and state.thread != threading.get_ident():
            return None
        past, new, cache = hf.lengths(args, kwargs)
        state.forwards += 1
        step = state.step(past, new, cache, kwargs.get(STEP))
        if step.capture is not None and cache is not None:
            hf.keep_graph_out_of_cache(cache, step.fresh)
        return args, {**kwargs, STEP: step}

    def release_cache(_module, _args, kwargs, _output):
        if kwargs.get("past_key_values") is not None:
            hf.release_cache(kwargs["past_key_values"])

    with hf.switched(model):
        hooks = [
            decoder.register_forward_pre_hook(carry_step, with_kwargs=True),
            decoder.register_forward_hook(release_cache, with_kwargs=True, always_call=True),
        ]
        try:
            yield state
        finally:
            for hook in hooks:
                hook.remove()
