"""Our attention function in transformers' attention interface: one name for each backend it can delegate to."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


class Name(str):
    """The name of our function beside one backend.

    Model code that asks which backend it has gets the backend's answer: some build a mask for "eager" or "sdpa" only
    (sparse attention), or leave rows out where a backend allows it. Lookups in transformers' tables, which hash, find
    our own entry. A copy of a configuration made while a session is open is not part of that session: it gets the
    backend's plain name.
    """

    backend: str

    def __new__(cls, name: str, backend: str) -> Any:
        made = super().__new__(cls, name)
        made.backend = backend
        return made

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) or str.__eq__(self.backend, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __contains__(self, part: Any) -> bool:
        return str.__contains__(self.backend, part)

    __hash__ = str.__hash__

    def __deepcopy__(self, _memo: dict[int, Any]) -> Any:
        return self.backend

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (self.backend,)


NAMES = {
    backend: Name(f"lvlm_saliency_{own}", backend)
    for backend, own in {
        "eager": "plain",
        "sdpa": "fused",
        "flash_attention_2": "tiled2",
        "flash_attention_3": "tiled3",
    }.items()
}
BACKENDS = {name: backend for backend, name in NAMES.items()}


def _eager(module: Any, *args: Any, **kwargs: Any) -> Any:
    """The eager attention of the model's own modelling file: soft-capping and sinks differ from family to family."""
    return sys.modules[type(module).__module__].eager_attention_forward(module, *args, **kwargs)


def register(attention: Callable[..., Any]) -> None:
    """Put our attention function into transformers' tables, under one name per backend that it may delegate to."""
    for backend, name in NAMES.items():
        if backend != "eager" and backend not in ALL_ATTENTION_FUNCTIONS:
            continue
        delegate = _eager if backend == "eager" else ALL_ATTENTION_FUNCTIONS[backend]
        AttentionInterface.register(name, functools.partial(attention, delegate=delegate))
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[backend])
