"""A session: the attention function switched on for one model, for the length of a `with` block.

The state lives in the calls themselves. A hook on the decoder puts a `ForwardState` into each forward call's keywords;
nothing is kept in module globals, so that threads may work on several models, or on one, at the same time.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch.utils.hooks import RemovableHandle

from lvlm_saliency import hf
from lvlm_saliency.attention import backend  # noqa: F401 (importing it registers the attention function)
from lvlm_saliency.attention.parts import Acting, LayerHooks, Removable, RowEditor
from lvlm_saliency.attention.prompts import (
    Prompt,
    brought_cache,
    check_pictures_in_cache,
    check_told,
    fit_cache,
    note_origin,
    origin_of,
    prompt_of,
    pushed,
)
from lvlm_saliency.attention.shared_hooks import SharedHooks, shared_hooks
from lvlm_saliency.attention.state import FORWARD_STATE, Capture, ForwardState
from lvlm_saliency.errors import SettingError, UnsupportedModelError
from lvlm_saliency.hf import cache_graph

Changed = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments and keywords of a forward call, as a hook leaves them."""

_open: dict[int, tuple[Session, ...]] = {}  # model id -> the sessions that are open for it
_open_lock = threading.Lock()


class _Calls(threading.local):
    """What belongs to one thread. opened: whether it opened the session; forward: the state of the forward call that it
    is in, for hooks inside the model; prompt: what that call takes for its prompt; inputs: the ids and the mask that it
    came with; running: the prompts of the thread's generations on the model, the innermost last."""

    def __init__(self) -> None:
        self.opened = False
        self.forward: ForwardState | None = None
        self.prompt: Prompt | None = None
        self.inputs: tuple[Any, Any] = (None, None)
        self.running: list[Prompt] = []


@dataclass
class Session:
    """What an open `session` knows.

    prompt: set by the one who opened it; without it, each call of `model.generate` says what its prompt is, and forward
    calls by hand go by `_by_hand`.
    editors, changing: the row editors, and the hooks that change something.
    capture: may be set and cleared between forward calls. forwards: how often the decoder was called.
    acting: whatever changes the latest call, what comes of enclosing sessions among it; traits: some editors, and what
    those say of each layer (`ForwardState.traits`); numbers: see `ForwardState`. hooks: where to put hooks, so that
    other threads may run the model meanwhile. calls: what belongs to the thread.
    """

    model: Any
    editors: Sequence[RowEditor]
    thread: int | None
    changing: Sequence[LayerHooks] = ()
    prompt: Prompt | None = None
    capture: Capture | None = None
    forwards: int = 0
    acting: tuple[Acting, ...] = ()
    traits: tuple[tuple[RowEditor, ...], dict[int, tuple[object, ...] | None]] = ((), {})
    numbers: Mapping[Any, int] = field(default_factory=dict)
    calls: _Calls = field(default_factory=_Calls)
    hooks: SharedHooks = field(init=False)

    def __post_init__(self) -> None:
        self.calls.opened = True

    @property
    def opened_here(self) -> bool:
        """Whether this thread opened the session. (torch.compile cannot trace through a thread's number.)"""
        return self.calls.opened

    @property
    def forward(self) -> ForwardState | None:
        """The state of the forward call that this thread is in; None outside of one that belongs to the session."""
        return self.calls.forward

    @property
    def own(self) -> tuple[Acting, ...]:
        """Whatever this session itself changes in a call."""
        return (*self.editors, *self.changing)

    def state_of_call(self, past: int, new: int, cache: Any, outer: ForwardState | None) -> ForwardState:
        """The state for one forward call, on top of that of an enclosing session."""
        editors = tuple(self.editors) if outer is None else (*outer.editors, *self.editors)
        self.acting = self.own if outer is None else (*outer.acting, *self.own)
        known = self.traits  # read once and put back whole: another thread may come in between
        if len(editors) != len(known[0]) or any(a is not b for a, b in zip(editors, known[0], strict=True)):
            known = self.traits = editors, {}
        capture = self.capture if self.capture is not None or outer is None else outer.capture
        prompt = self.calls.prompt = self._prompt(past, new, cache)
        forward = ForwardState(past, new, prompt.length, editors, capture, prompt.image, prompt.padding, cache)
        forward.shift, forward.acting = prompt.shift, self.acting
        forward.traits, forward.numbers = known[1], self.numbers
        return forward

    def _prompt(self, past: int, new: int, cache: Any) -> Prompt:
        if self.prompt is not None:
            return self.prompt
        if self.running:
            return self.running[-1]
        # A generation of this thread that had begun, but not so far as its own session, when this block was opened.
        told = (
            other.prompt for other in _open.get(id(self.model), ()) if other.thread is not None and other.opened_here
        )
        return next((prompt for prompt in told if prompt is not None), None) or self._by_hand(past, new, cache)

    @property
    def running(self) -> list[Prompt]:
        """The prompts of this thread's generations on the model, the innermost last."""
        return self.calls.running

    def came_too_late(self, past: int, cache: Any) -> bool:
        """Whether a call belongs to what another thread had begun when this block was opened: that goes on as it
        began."""
        if self.thread is not None or self.prompt is not None or self.opened_here:
            return False
        known = _open.get(id(self.model), ())
        older = itertools.takewhile(lambda other: other is not self, known)
        if any(other.thread is not None and other.opened_here for other in older):
            return True
        if not self.running and any(other.running for other in known if other is not self):
            return True
        return not self.running and past > 0 and origin_of(cache) is None

    def _by_hand(self, past: int, new: int, cache: Any) -> Prompt:
        """The rule of forward calls outside of `generate`: what comes in over an empty cache is the prompt, and single
        tokens over that cache, or a copy of it, are the answer."""
        if not past:
            prompt = Prompt.read(self.model, *self.calls.inputs, new)
            check_told(self.own, self.model, prompt)
            return prompt
        known = origin_of(cache)
        if known is not None and new == 1:
            return known.prompt
        if not self.own and self.capture is None:
            return Prompt(past + new)
        what = f"{new} tokens" if new > 1 else "a token"
        whose = "a cache that holds some" if known is not None else "a cache that was filled outside of the block"
        raise SettingError(
            f"{what} came in over {whose}, in a forward call by hand: whether prompt or answer cannot be told; feed "
            "the prompt at once over an empty cache and the answer token by token, or call model.generate"
        )

    @contextmanager
    def generating(self, called: Any, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A call of `called.generate` with these arguments; gives the arguments to go on with. `called` is the model,
        or a copy in its place with generation settings of its own.

        Raises:
            SettingError: a way to generate, or a cache, that what acts here cannot serve.
        """
        config = given.get("generation_config")
        if self.running and getattr(config, "is_assistant", False):
            yield given  # a model that drafts for itself goes on with the prompt that it drafts for
            return
        if hf.setting(called, given, "token_healing"):
            raise SettingError(
                "token_healing rewrites the end of the prompt: leave it out, or use lvlm_saliency.generate"
            )
        if hf.setting(called, given, "cache_implementation") == "paged":
            raise SettingError(
                "cache_implementation='paged' (continuous batching) packs texts in a way that methods cannot follow: "
                "leave it out"
            )
        if self.own and hf.setting(called, given, "guidance_scale") not in (None, 1):
            raise SettingError(
                f"guidance_scale reads a second prompt, which {self.own[0].name} would take for the first: "
                "leave one of the two out"
            )
        for name in ("prefill_chunk_size", "prompt_lookup_num_tokens", "assistant_model"):
            if given.get("inputs_embeds") is not None and hf.setting(called, given, name) is not None:
                raise SettingError(f"{name} needs the prompt's ids alone: leave inputs_embeds out, or {name}")
        prompt = prompt_of(self.model, given)
        if self.own:
            check_told(self.own, self.model, prompt)
            if (cache := brought_cache(given)) is not None:
                held = fit_cache(self.model, self.own, cache, prompt, given)
                check_pictures_in_cache(self.model, given, held)
            given = hf.without_compiling(given)  # a compiled call would not ask what is to be edited
        with pushed(self.running, prompt):
            yield given

    def check_reached(self, forward: ForwardState) -> None:
        """Refuse a call that came back without having asked for what was to be edited or captured.

        Raises:
            UnsupportedModelError: naming the layers.
        """
        missed = forward.missed(hf.running_layers(self.model))
        if missed:
            what = f"layers {', '.join(map(str, missed))}" if len(missed) > 1 else f"layer {missed[0]}"
            raise UnsupportedModelError(
                f"the attention of {what} was not called in a forward call of {type(self.model).__name__}: the model "
                "skips it, or computes it without transformers' attention interface, so that its rows can be neither "
                "edited nor captured"
            )

    def end(self, forward: ForwardState, cache: Any) -> None:
        """Write down on the call's cache (the one that came out, where none went in) which rows are edited in it."""
        forward.cache = cache if forward.cache is None else forward.cache
        prompt = self.calls.prompt
        if forward.cache is None or not forward.acting or prompt is None:
            return
        edited = None
        if forward.edited:
            in_prompt = any(part.edits_prompt for part in forward.acting)
            edited = forward.past if in_prompt else max(forward.past, forward.prompt_length - 1)
        note_origin(forward.cache, prompt, forward.past, edited)

    @contextmanager
    def acting_on(self, prompt: Prompt, editors: Sequence[RowEditor] = ()) -> Iterator[None]:
        """Forward calls inside the block belong to another input: its own prompt, nothing captured, more editors."""
        before = self.prompt, self.capture, self.editors
        self.prompt, self.capture, self.editors = prompt, None, (*self.editors, *editors)
        try:
            with ExitStack() as stack:
                for other in _open.get(id(self.model), ()):
                    stack.enter_context(pushed(other.running, prompt))
                yield
        finally:
            self.prompt, self.capture, self.editors = before


@contextmanager
def session(
    model: Any, editors: Sequence[RowEditor] = (), hooks: Sequence[LayerHooks] = (), *, everywhere: bool = False
) -> Iterator[Session]:
    """Switch the attention function on for `model`'s language model, and off again, whatever happens.

    Args:
        model: any supported transformers model.
        editors: shape the attention rows of every forward call inside the block.
        hooks: read or change what lies between its layers.
        everywhere: also act on forward calls from other threads (a `with method(model)` block does; a trace or a
            generation acts on its own calls only).

    Raises:
        UnsupportedModelError: the model's attention cannot be captured, or training mode makes its calls draw numbers
            or go without a cache; the message says why.
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
            return None  # nothing to see or do: the call goes its own way
        if forward.capture is not None and cache is not None:
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
            ours = kwargs.get(FORWARD_STATE) is forward  # else it was an inner session's that went
            if output is not None and ours:
                state.check_reached(forward)
            state.end(forward, hf.cache_of(output))

    watching = hf.watched(model, state.generating) if everywhere else nullcontext()
    with hf.switched(model), shared_hooks(model) as state.hooks, _listed(state), watching:
        handles: list[Removable] = [
            state.hooks.before(model, note_inputs),
            state.hooks.before(decoder, carry_state),
            state.hooks.after(decoder, end_call, always=True),
            *(state.hooks.before(module, hand_over) for module in known.deaf),
        ]
        try:
            for each in hooks:
                handles.extend(each.put(model, state))
            for handle in handles:
                if isinstance(handle, RemovableHandle):  # of another package's method: not to be copied with the model
                    hf.bind_to_model(handle)
            yield state
        finally:
            for handle in handles:
                handle.remove()


@contextmanager
def _listed(state: Session) -> Iterator[None]:
    """The session among those that are open for its model, for the length of the block."""
    key = id(state.model)
    with _open_lock:
        _open[key] = (*_open.get(key, ()), state)
    try:
        yield
    finally:
        with _open_lock:
            _open[key] = tuple(other for other in _open[key] if other is not state)
            if not _open[key]:
                del _open[key]
