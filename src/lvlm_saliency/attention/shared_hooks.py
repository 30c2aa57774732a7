"""Forward hooks that threads may add and take off while others run the same model.

A module's dictionaries of hooks belong to all threads: one that is walking them, while another takes a hook off, calls
that hook without its keywords, or stumbles over the change. So each module has one hook of ours of a kind, which stays
as long as anything is open on its model, and what it calls is a tuple that is replaced and never changed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

_open: dict[int, SharedHooks] = {}  # model id -> its hooks
_lock = threading.RLock()


class _Hook:
    """The one hook of a kind on one module; calls its functions in the order in which they came."""

    def __init__(self, module: nn.Module | None = None):
        self.module = module
        self.functions: tuple[tuple[object, Callable], ...] = ()

    def __reduce__(self):  # a copy or a pickle of the model has nothing of what is open here
        return type(self), ()

    def serves(self, module: nn.Module) -> bool:
        return module is self.module


class _Before(_Hook):
    def __call__(self, module, args, kwargs=None):
        if kwargs is None or not self.serves(module):  # taken off while this thread walked the hooks
            return None
        changed = None
        for _, function in self.functions:
            if (result := function(module, args, kwargs)) is not None:
                changed = args, kwargs = result
        return changed


class _After(_Hook):
    def __call__(self, module, args, *keywords_and_output):
        if len(keywords_and_output) != 2 or not self.serves(module):
            return None
        kwargs, output = keywords_and_output
        changed = None
        for _, function in self.functions:
            if (result := function(module, args, kwargs, output)) is not None:
                changed = output = result
        return changed


class SharedHooks:
    """The hooks of one model, for whoever is open on it."""

    def __init__(self, model: nn.Module):
        self.model = model  # held, so that its id stays its own
        self.users = 0
        self.hooks: dict[tuple, tuple[_Hook, object]] = {}

    def before(self, module: nn.Module, function: Callable) -> Handle:
        """Call `function(module, args, kwargs)` before each forward call of the module; it may return new ones."""
        return self._added(module, _Before, False, function)

    def after(self, module: nn.Module, function: Callable, *, always: bool = False) -> Handle:
        """Call `function(module, args, kwargs, output)` behind each forward call of the module; it may return another
        output. With `always` also behind one that ends in an exception, with None for its output."""
        return self._added(module, _After, always, function)

    def _added(self, module: nn.Module, kind: type[_Hook], always: bool, function: Callable) -> Handle:
        key = id(module), kind, always
        with _lock:
            if key not in self.hooks:
                hook = kind(module)
                if kind is _Before:
                    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
                else:
                    handle = module.register_forward_hook(hook, with_kwargs=True, always_call=always)
                self.hooks[key] = hook, handle
            hook = self.hooks[key][0]
            handle = Handle(hook)
            hook.functions = (*hook.functions, (handle, function))
        return handle

    def close(self) -> None:
        for hook, handle in self.hooks.values():
            hook.functions = ()
            handle.remove()
        self.hooks.clear()


class Handle:
    """Takes one function off again."""

    def __init__(self, hook: _Hook):
        self.hook = hook

    def remove(self) -> None:
        with _lock:
            self.hook.functions = tuple(entry for entry in self.hook.functions if entry[0] is not self)


@contextmanager
def shared_hooks(model: nn.Module) -> Iterator[SharedHooks]:
    """The model's hooks; with the last block that is open on the model they are gone."""
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
