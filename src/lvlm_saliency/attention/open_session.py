"""An open session: what it knows, and the state that it makes for each forward call.

`session.session` opens one.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from lvlm_saliency import hf
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
from lvlm_saliency.attention.protocols import Acting, LayerHooks, RowEditor
from lvlm_saliency.attention.shared_hooks import SharedHooks
from lvlm_saliency.attention.state import Capture, ForwardState
from lvlm_saliency.errors import SettingError, UnsupportedModelError

_open: dict[int, tuple[Session, ...]] = {}  # model id -> the sessions that are open for it
_open_lock = threading.Lock()


class _Calls(threading.local):
    """What a session knows of one thread.

    Attributes:
        opened: whether this thread opened the session.
        forward: the state of the forward call that it is in, for hooks inside the model.
        prompt: the prompt of that call.
        inputs: the token ids and the attention mask of that call.
        running: the prompts of the thread's generations on the model, the innermost last.
    """

    def __init__(self) -> None:
        self.opened = False
        self.forward: ForwardState | None = None
        self.prompt: Prompt | None = None
        self.inputs: tuple[Any, Any] = (None, None)
        self.running: list[Prompt] = []


@dataclass
class Session:
    """An open session.

    Attributes:
        model: the model.
        editors: its row editors.
        thread: identifier of the only thread whose calls it acts on; None for all threads.
        changing: its layer hooks that change something.
        prompt: set by whoever opened it. Where it is None, each call of `model.generate` says what its prompt is, and
            for forward calls outside `generate` the rule of `_by_hand` holds.
        capture: may be set and cleared between forward calls.
        forwards: number of calls of the decoder.
        acting: all parts that change the latest call, those of enclosing sessions included.
        traits: the editors of the latest call, and their `kind_of_layer` for each layer (`ForwardState.traits`).
        numbers: see `ForwardState`.
        calls: what is known of the present thread.
        hooks: registers hooks that are safe while other threads run the model.
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
        """The parts of this session itself that change forward calls."""
        return (*self.editors, *self.changing)

    def state_of_call(self, past: int, new: int, cache: Any, outer: ForwardState | None) -> ForwardState:
        """The state for one forward call.

        Args:
            past: tokens in the cache before the call.
            new: tokens fed in it.
            cache: the call's cache, or None.
            outer: the state that an enclosing session has made for the same call; its editors act first.
        """
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
        # A generation of this thread may have begun before this block was opened, and opened its own session since.
        told = (
            other.prompt for other in _open.get(id(self.model), ()) if other.thread is not None and other.opened_here
        )
        return next((prompt for prompt in told if prompt is not None), None) or self._by_hand(past, new, cache)

    @property
    def running(self) -> list[Prompt]:
        """The prompts of this thread's generations on the model, the innermost last."""
        return self.calls.running

    def came_too_late(self, past: int, cache: Any) -> bool:
        """Whether a call belongs to a generation that another thread had begun before this block was opened. The block
        does not act on it."""
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
        """The prompt of a forward call outside of `generate`: what is fed over an empty cache is the prompt, and single
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
        """Note the prompt of a `generate` call for the length of the block.

        Args:
            called: whose `generate` is called: the model, or a copy of it with generation settings of its own.
            given: the arguments of the call.

        Yields:
            The arguments to call `generate` with.

        Raises:
            SettingError: a generation setting, or a cache, that the acting parts cannot be used with.
        """
        config = given.get("generation_config")
        if self.running and getattr(config, "is_assistant", False):
            yield given  # the model is its own assistant: its drafts belong to the prompt of the outer call
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
            given = hf.without_compiling(given)  # a compiled forward call would not run our hooks
        with pushed(self.running, prompt):
            yield given

    def check_reached(self, forward: ForwardState) -> None:
        """Check, after a forward call, that every layer to be edited or captured has called the attention function.

        Raises:
            UnsupportedModelError: some have not; the message names them.
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
        """Note on the call's cache (the one that it returned, where it was given none) which of its rows are edited."""
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
        """For the length of the block, forward calls belong to another prompt: nothing is captured, and `editors` act
        beside the session's own."""
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
def listed(state: Session) -> Iterator[None]:
    """List the session among the open ones of its model, for the length of the block."""
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
