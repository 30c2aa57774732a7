"""Forward hooks that threads may add and take off while others run the same model.

A module's dictionaries of hooks belong to all threads: one that is walking them, while another takes a hook off, calls
that hook without its keywords, or stumbles over the change. So each module has one hook of ours of a kind, which stays
as long as anything is open on its model, and what it calls is a tuple that is replaced and never changed.
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
    """The one hook of a kind on one module; calls its functions in the order in which they came."""

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
        if kwargs is None or not self.serves(module):  # taken off while this thread walked the hooks
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
    """The hooks of one model, for whoever is open on it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model  # held, so that its id stays its own
        self.users = 0
        self.hooks: dict[tuple[int, type[_Hook], bool], tuple[_Hook, RemovableHandle]] = {}

    def before(self, module: nn.Module, function: Callable[..., Any]) -> Handle:
        """Call `function(module, args, kwargs)` before each forward call of the module; it may return new ones."""
        return self._added(module, _Before, False, function)

    def after(self, module: nn.Module, function: Callable[..., Any], *, always: bool = False) -> Handle:
        """Call `function(module, args, kwargs, output)` behind each forward call of the module; it may return another
        output. With `always` also behind one that ends in an exception, with None for its output."""
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
    """Takes one function off again."""

    def __init__(self, hook: _Hook) -> None:
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
