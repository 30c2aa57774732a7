"""The hooks by which transformers collects the hidden states and attention maps that a call asks for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import transformers
from transformers.utils import output_capturing

INSTALLED = "_output_capturing_hooks_installed"

_lock = threading.Lock()


def capture_once(model: Any) -> None:
    """Call this before a whole model is asked for hidden states or attention maps.

    transformers puts its hooks on a model at the first call that asks for them, and on the models inside it again, even
    where they have theirs. The vision tower of Phi-4-multimodal, whose pictures are read from one of its hidden states,
    then collects every state twice and fails. Here such a tower keeps one hook for each.
    """
    with _lock:
        for outer in [module for module in model.modules() if isinstance(module, transformers.PreTrainedModel)]:
            if INSTALLED in vars(outer) or not any(INSTALLED in vars(inner) for inner in outer.modules()):
                continue
            before = {module: set(module._forward_hooks) for module in outer.modules() if _capturing(module)}
            output_capturing.maybe_install_capturing_hooks(outer)
            for module, hooks in before.items():
                _remove_new(module, hooks)


@contextmanager
def maps_asked_for(model: Any) -> Iterator[None]:
    """A block in which a model can be asked for attention maps and hidden states (`capture_once`). At its end, remove
    what transformers leaves on such a model (hooks on its layers, and a flag), unless it was there before."""
    before = {module: set(module._forward_hooks) for module in model.modules()}
    flagged = {module for module in before if INSTALLED in vars(module)}
    capture_once(model)
    try:
        yield
    finally:
        for module, hooks in before.items():
            _remove_new(module, hooks)
            if module not in flagged and INSTALLED in vars(module):
                delattr(module, INSTALLED)


def _capturing(module: Any) -> list[int]:
    """The keys of the hooks of `module` that are of this kind."""
    hooks = module._forward_hooks
    return [key for key, hook in hooks.items() if getattr(hook, "__module__", "") == output_capturing.__name__]


def _remove_new(module: Any, before: set[int]) -> None:
    for key in _capturing(module):
        if key not in before:
            del module._forward_hooks[key]
