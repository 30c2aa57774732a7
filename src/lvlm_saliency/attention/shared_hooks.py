"""Forward hooks that threads may add and remove while others run the same model.

A module's dictionaries of hooks are shared by all threads. If one thread removes a hook while another iterates over
them, the other calls that hook without its keywords, or fails because the dictionary has changed. So each module gets
one hook of ours before and one after its forward call. They stay as long as a session is open on the model, and the
tuple of functions that they call is replaced, never changed in place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

_open: dict[int, SharedHooks] = {}  # model id -> its hooks
_lock = threading.RLock()


class _Hook:
    """The one hook before (or after) one module's forward call; calls its functions in the order of registration."""

    def __init__(self, module: nn.Module | None = None) -> None:
        self.module = module
        self.functions: tuple[tuple[object, Callable[..., Any]], ...] = ()

    def __reduce__(
        self,
    ) -> tuple[type[_Hook], tuple[()]]:  # a copy or a pickle of the model has nothing of what is open here
        return type(self), ()

    def serves(self, module: nn.Module) -> bool:
        return module is self.module


class _Before(_Hook):
    def __call__(self, module: Any, args: Any, kwargs: Any = None) -> Any:
        if kwargs is None or not self.serves(module):  # removed while this thread iterated over the hooks
            return None
        changed = None
        for _, function in self.functions:
            if (result := function(module, args, kwargs)) is not None:
                changed = args, kwargs = result
        return changed


class _After(_Hook):
    def __call__(self, module: Any, args: Any, *keywords_and_output: Any) -> Any:
        if len(keywords_and_output) != 2 or not self.serves(module):
            return None
        kwargs, output = keywords_and_output
        changed = None
        for _, function in self.functions:
            if (result := function(module, args, kwargs, output)) is not None:
                changed = output = result
        return changed


class SharedHooks:
    """The hooks of one model, shared by all sessions that are open on it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model  # held, so that its id stays its own
        self.users = 0
        self.hooks: dict[tuple[int, type[_Hook], bool], tuple[_Hook, RemovableHandle]] = {}

    def before(self, module: nn.Module, function: Callable[..., Any]) -> Handle:
        """Call `function(module, args, kwargs)` before each forward call of the module; it may return a new pair of
        args and kwargs."""
        return self._added(module, _Before, False, function)

    def after(self, module: nn.Module, function: Callable[..., Any], *, always: bool = False) -> Handle:
        """Call `function(module, args, kwargs, output)` after each forward call of the module; it may return another
        output. With `always` it is also called after an exception, with None as the output."""
        return self._added(module, _After, always, function)

    def _added(self, module: nn.Module, kind: type[_Hook], always: bool, function: Callable[..., Any]) -> Handle:
        key = id(module), kind, always
        with _lock:
            if key not in self.hooks:
                hook: Any = kind(module)
                if kind is _Before:
                    registered = module.register_forward_pre_hook(hook, with_kwargs=True)
                else:
                    registered = module.register_forward_hook(hook, with_kwargs=True, always_call=always)
                self.hooks[key] = hook, registered
            hook = self.hooks[key][0]
            taken_off_by = Handle(hook)
            hook.functions = (*hook.functions, (taken_off_by, function))
        return taken_off_by

    def close(self) -> None:
        for hook, handle in self.hooks.values():
            hook.functions = ()
            handle.remove()
        self.hooks.clear()


class Handle:
    """Removes one function again."""

    def __init__(self, hook: _Hook) -> None:
        self.hook = hook

    def remove(self) -> None:
        with _lock:
            self.hook.functions = tuple(entry for entry in self.hook.functions if entry[0] is not self)


@contextmanager
def shared_hooks(model: nn.Module) -> Iterator[SharedHooks]:
    """The model's hooks. They are removed when the last block that uses them ends."""
    with _lock:
        hooks = _open.setdefault(id(model), SharedHooks(model))
        hooks.users += 1
    try:
        yield hooks
    finally:
        with _lock:
            hooks.users -= 1
            if not hooks.users:
                del _open[id(model)]
                hooks.close()
