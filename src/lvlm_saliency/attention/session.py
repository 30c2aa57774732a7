"""Opens a session: the attention function switched on for one model, for the length of a `with` block.

The state travels in the calls themselves: a hook on the decoder puts a `ForwardState` into each forward call's
keywords. No call depends on a global, so threads may work on several models, or on one, at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from torch.utils.hooks import RemovableHandle

from lvlm_saliency import hf
from lvlm_saliency.attention import backend  # noqa: F401 (importing it registers the attention function)
from lvlm_saliency.attention.open_session import Session, listed
from lvlm_saliency.attention.prompts import Prompt
from lvlm_saliency.attention.protocols import LayerHooks, Removable, RowEditor
from lvlm_saliency.attention.shared_hooks import shared_hooks
from lvlm_saliency.attention.state import FORWARD_STATE, ForwardState
from lvlm_saliency.hf import cache_graph

__all__ = ["Prompt", "Session", "session"]

Changed = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional arguments and keywords of a forward call, as a hook returns them."""


@contextmanager
def session(
    model: Any, editors: Sequence[RowEditor] = (), hooks: Sequence[LayerHooks] = (), *, everywhere: bool = False
) -> Iterator[Session]:
    """Switch the attention function on for `model`'s language model, and off again at the end, also after an error.

    Args:
        model: any supported transformers model.
        editors: edit the attention rows of every forward call inside the block.
        hooks: read or change the hidden states between its layers.
        everywhere: also act on forward calls from other threads (a `with method(model)` block does; a trace or a
            generation acts on its own calls only).

    Raises:
        UnsupportedModelError: the model's attention cannot be captured, or training mode changes its output (dropout,
            gradient checkpointing); the message says why.
    """
    decoder = hf.supported_decoder(model)
    hf.refuse_training(model)
    changing = tuple(each for each in hooks if each.changes)
    state = Session(model, tuple(editors), None if everywhere else threading.get_ident(), changing)

    known = hf.known_layers(model)
    state.numbers = known.renumbered

    def elsewhere() -> bool:
        return state.thread is not None and state.thread != threading.get_ident()

    def note_inputs(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # The decoder itself gets embeddings; only the whole model sees which ids are pictures.
        if not elsewhere():
            state.calls.inputs = (kwargs.get("input_ids", args[0] if args else None), kwargs.get("attention_mask"))

    def carry_state(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Changed | None:
        if elsewhere():
            return None
        if decoder.training:  # switched on since the block was opened
            hf.refuse_training(model)
        past, new, cache = hf.lengths(decoder, args, kwargs)
        if state.came_too_late(past, cache):
            state.calls.forward = None
            return None
        state.forwards += 1
        forward = state.calls.forward = state.state_of_call(past, new, cache, kwargs.get(FORWARD_STATE))
        if forward.capture is None and not forward.acting:
            return None  # nothing to capture or change: the call stays as it came
        if forward.capture is not None and not forward.capture.later and cache is not None:
            cache_graph.keep_graph_out_of_cache(cache, forward.fresh, past)
        return args, {**kwargs, FORWARD_STATE: forward}

    def hand_over(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Changed | None:
        forward = state.forward
        if forward is None or (forward.capture is None and not forward.acting):
            return None
        return args, {**kwargs, FORWARD_STATE: forward}

    def end_call(_module: Any, _args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if elsewhere():
            return
        forward: ForwardState | None = state.forward
        state.calls.forward, state.calls.inputs = None, (None, None)
        for module in known.holders:
            cache_graph.detach_held(module, hf.HELD_STATES)
        if (cache := hf.cache_of(kwargs)) is not None:
            cache_graph.release_cache(cache)
        if forward is not None:
            ours = kwargs.get(FORWARD_STATE) is forward  # else the call carried the state of an inner session
            if output is not None and ours:
                state.check_reached(forward)
            state.end(forward, hf.cache_of(output))

    watching = hf.watched(model, state.generating) if everywhere else nullcontext()
    with hf.switched(model), shared_hooks(model) as state.hooks, listed(state), watching:
        handles: list[Removable] = [
            state.hooks.before(model, note_inputs),
            state.hooks.before(decoder, carry_state),
            state.hooks.after(decoder, end_call, always=True),
            *(state.hooks.before(module, hand_over) for module in known.deaf),
            *_watch_draws(state, (model, decoder)),  # last, so that a refusal leaves a call that has ended
        ]
        try:
            for each in hooks:
                handles.extend(each.put(model, state))
            for handle in handles:
                if isinstance(
                    handle, RemovableHandle
                ):  # another package's torch hook: a copy of the model is not to have it
                    hf.bind_to_model(handle)
            yield state
        finally:
            for handle in handles:
                handle.remove()


def _watch_draws(state: Session, modules: Sequence[Any]) -> Iterator[Removable]:
    """Refuse forward calls that draw random numbers while a part of the model is in training mode."""
    draws = hf.Draws(state.model)

    def begin(module: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        if state.thread in (None, threading.get_ident()):
            draws.begin(module)

    def end(_module: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any], output: Any) -> None:
        if state.thread in (None, threading.get_ident()):
            draws.end(finished=output is not None)

    for module in modules:
        yield state.hooks.before(module, begin)
        yield state.hooks.after(module, end, always=True)
