"""Routes the language model's attention through our function, and back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lvlm_saliency.hf.backends import BACKENDS, NAMES
from lvlm_saliency.hf.decoder import language_configs

_switches: dict[int, tuple[Any, str, int]] = {}  # config id -> (config, its own backend, how many sessions are open)
_switch_lock = threading.Lock()


class _Hook:
    """A hook that serves one model: a copy or a pickle of it does nothing."""

    def __init__(self, act: Callable[..., Any] | None = None):
        self.act = act

    def __call__(self, *args: Any) -> Any:
        return None if self.act is None else self.act(*args)

    def __reduce__(self) -> Any:
        return _Hook, ()


def bind_to_model(handle: Any) -> None:
    """Make the hook of this handle do nothing in copies and pickles of its module."""
    hooks = handle.hooks_dict_ref()
    hooks[handle.id] = _Hook(hooks[handle.id])


@contextmanager
def switched(model: Any) -> Iterator[None]:
    """Route the language model's attention through our function; counted, so that sessions may nest and overlap."""
    configs = language_configs(model)
    with _switch_lock:
        for config in configs:
            now = config._attn_implementation
            _, own, count = _switches.get(id(config), (config, BACKENDS.get(now, now), 0))
            _switches[id(config)] = (config, own, count + 1)
            config._attn_implementation_internal = NAMES[own]
    try:
        yield
    finally:
        with _switch_lock:
            for config in configs:
                _, own, count = _switches.pop(id(config))
                if count > 1:
                    _switches[id(config)] = (config, own, count - 1)
                else:
                    config._attn_implementation_internal = own
