"""Intercepts calls of `model.generate` for the length of a block.

An attribute on the model would also be on its copies, so the class's `generate` is replaced: while a block is open, it
checks whether it is called on that block's model. Calls on other models go to the original.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from lvlm_saliency.errors import SettingError

BATCHING = ("generate_batch", "init_continuous_batching", "continuous_batching_context_manager")
"""Ways to generate that run the model in a thread of their own over a paged cache, which methods cannot act on."""

# model id -> (model, what its open blocks want done)
_watchers: dict[int, tuple[Any, tuple[Callable[..., Any], ...]]] = {}
# (class, name) -> (the original, ours, how many blocks)
_replaced: dict[tuple[type, str], tuple[Callable[..., Any], Callable[..., Any], int]] = {}
_doubles: dict[int, int] = {}  # id of a copy that generates in a model's place -> id of that model
_lock = threading.Lock()


@contextmanager
def watched(
    model: Any, begin: Callable[[Any, dict[str, Any]], AbstractContextManager[dict[str, Any]]]
) -> Iterator[None]:
    """Run each `model.generate(...)` inside `begin(called, arguments)`, whatever thread it is called from.

    Args:
        begin: takes the model that is called (or the copy in its place: see `watched_as`), whose generation settings
            hold, and the call's arguments by name; gives those to go on with.
    """
    names = [name for name in ("generate", *BATCHING) if hasattr(type(model), name)]
    places = [(next(kind for kind in type(model).__mro__ if name in vars(kind)), name) for name in names]
    with _lock:
        _watchers[id(model)] = (model, (*_watchers.get(id(model), (model, ()))[1], begin))
        for kind, name in places:
            if (kind, name) not in _replaced:
                original = vars(kind)[name]
                ours = _asking(original) if name == "generate" else _refusing(original, name)
                _replaced[kind, name] = original, ours, 0
                setattr(kind, name, ours)
            original, ours, count = _replaced[kind, name]
            _replaced[kind, name] = original, ours, count + 1
    try:
        yield
    finally:
        with _lock:
            _, begins = _watchers.pop(id(model))
            kept = list(begins)
            kept.remove(begin)
            if kept:
                _watchers[id(model)] = model, tuple(kept)
            for kind, name in places:
                original, ours, count = _replaced.pop((kind, name))
                if count > 1:
                    _replaced[kind, name] = original, ours, count - 1
                elif vars(kind).get(name) is ours:
                    setattr(kind, name, original)


@contextmanager
def watched_as(double: Any, model: Any) -> Iterator[None]:
    """Inside the block, a call of `double.generate` is one of the model's: `double` is a copy over the same modules,
    with other generation settings."""
    _doubles[id(double)] = id(model)
    try:
        yield
    finally:
        del _doubles[id(double)]


def _asking(original: Callable[..., Any]) -> Callable[..., Any]:
    names = list(inspect.signature(original).parameters)[1:]

    @functools.wraps(original)
    def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        _, begins = _watchers.get(_doubles.get(id(self), id(self)), (None, ()))
        if not begins:
            return original(self, *args, **kwargs)
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        with ExitStack() as stack:
            for begin in begins:
                given = stack.enter_context(begin(self, given))
            return original(self, **given)

    return generate


def _refusing(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def refused(self: Any, *args: Any, **kwargs: Any) -> Any:
        if id(self) in _watchers:
            raise SettingError(
                f"{name} (continuous batching) packs texts in a way that methods cannot follow: "
                "call model.generate inside the block, or close it first"
            )
        return original(self, *args, **kwargs)

    return refused
