"""Hybrids in one pass: a recurrent part runs the rows of a block side by side, each from the state before its token.

A linear attention, a state space or a short convolution carries gradient from later tokens to earlier ones. The row of
one token must not have it: it depends on its own residual stream, with the state before it taken as a constant. So the
part first runs over the rows one by one without gradient and keeps the state before each. Then one call of its own
single-token path takes all rows as a batch, each with its state, in the graph. This costs one step of the part per row
and one for all of them; row by row, the whole model would run forward and backward each time. Parts with a closed form
(`closed_forms`) need neither the steps nor the states.
"""

from __future__ import annotations

import copy
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lvlm_saliency.hf.cache_graph import Fresh, keep_graph_out_of_cache, keepers_off, release_cache
from lvlm_saliency.hf.call import CACHE_NAMES
from lvlm_saliency.hf.closed_forms import CLOSED

MIXERS = frozenset(
    [
        "BailingHybridDeltaAttention",
        "BambaMixer",
        "FalconH1Mixer",
        "Glm5NextTextLinearAttention",
        "GraniteMoeHybridMambaLayer",
        "JambaMambaMixer",
        "KimiLinearDeltaAttention",
        "Lfm2MoeShortConv",
        "Lfm2ShortConv",
        "Lfm3ShortConv",
        "NemotronHMamba2Mixer",
        "OlmoHybridGatedDeltaNet",
        "Qwen3NextGatedDeltaNet",
        "Qwen3_5GatedDeltaNet",
        "Qwen3_5MoeGatedDeltaNet",
        "Qwen4ExpTextGatedDeltaNet",
        "ZambaMambaMixer",
        "Zamba2MambaMixer",
    ]
)
"""Recurrent parts for which tests show that rows run side by side equal those of the definition: they link tokens only
through the states in the cache. Others run row by row."""
STATES = ("conv_states", "recurrent_states")

_lock = threading.Lock()


def separable(module: nn.Module) -> bool:
    """Whether it is one of `SEPARABLE` with its own forward method (a hook that loads weights from disk replaces
    it)."""
    replaced = vars(module).get("forward")
    return type(module).__name__ in MIXERS and (replaced is None or isinstance(replaced, _Apart))


@contextmanager
def rows_apart(modules: tuple[nn.Module, ...]) -> Iterator[None]:
    """Inside the block, forward calls of this thread run the rows of these parts side by side."""
    with _lock:
        for module in modules:
            vars(module).setdefault("forward", _Apart(module)).enter()
    try:
        yield
    finally:
        with _lock:
            for module in modules:
                if vars(module)["forward"].leave():
                    del vars(module)["forward"]


def state_bytes(modules: tuple[nn.Module, ...], cache: Any) -> int:
    """Bytes of the states that each row of a block keeps in these parts."""
    walking = [module.layer_idx for module in modules if type(module).__name__ not in CLOSED]
    return sum(state.nbytes for number in walking for state in _states_of(cache.layers[number]).values())


class _Apart:
    """Replaces a part's forward method while a trace runs; other threads get the part's own."""

    def __init__(self, module: nn.Module):
        self.module = module
        self.threads: dict[int, int] = {}

    def enter(self) -> None:
        thread = threading.get_ident()
        self.threads = {**self.threads, thread: self.threads.get(thread, 0) + 1}

    def leave(self) -> bool:
        """Whether this was the last user."""
        thread = threading.get_ident()
        count = self.threads[thread] - 1
        self.threads = {key: value for key, value in self.threads.items() if key != thread}
        if count:
            self.threads = {**self.threads, thread: count}
        return not self.threads

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        own = type(self.module).forward.__get__(self.module)
        if threading.get_ident() not in self.threads:
            return own(*args, **kwargs)
        named = {**dict(zip(_parameters(type(self.module).forward), args, strict=False)), **kwargs}
        return _side_by_side(self.module, own, **named)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy of the model is not part of the block: its part gets its own forward pass."""
        copied = memo.get(id(self.module))
        return self if copied is None else type(copied).forward.__get__(copied)

    def __reduce__(self) -> tuple[Any, ...]:
        return _own_forward, (self.module,)


def _own_forward(module: nn.Module) -> Any:
    return type(module).forward.__get__(module)


@functools.cache
def _parameters(forward: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(forward).parameters)[1:]


def _side_by_side(module: nn.Module, own: Any, hidden_states: Tensor, **keywords: Any) -> Any:
    name = next((name for name in ("cache_params", *CACHE_NAMES) if keywords.get(name) is not None), "")
    count, number = hidden_states.shape[1], getattr(module, "layer_idx", None)
    layer = keywords[name].layers[number] if name else None
    if layer is None or count == 1 or not _states_of(layer):
        return own(hidden_states, **keywords)
    if (form := CLOSED.get(type(module).__name__)) is not None:
        return form(module, hidden_states, layer)
    keywords["attention_mask"] = None  # rows of an answer hold no padding
    before: list[dict[tuple[str, int], Tensor]] = []
    outputs = []
    with torch.no_grad():
        for row in hidden_states.detach().split(1, dim=1):
            before.append({key: state.clone() for key, state in _states_of(layer).items()})
            outputs.append(own(row, **keywords))
    if not torch.is_grad_enabled():
        return torch.cat(outputs, dim=1)
    own_cache = _with_states(keywords[name], number, before)
    keep_graph_out_of_cache(own_cache, Fresh(), own_cache.get_seq_length())
    batch = len(hidden_states)
    output = own(hidden_states.transpose(0, 1).reshape(count * batch, 1, -1), **{**keywords, name: own_cache})
    release_cache(own_cache)
    return output.reshape(count, batch, -1).transpose(0, 1)


def _states_of(layer: Any) -> dict[tuple[str, int], Tensor]:
    found = ((name, getattr(layer, name, None) or {}) for name in STATES)
    return {(name, index): state for name, held in found for index, state in held.items() if state is not None}


def _with_states(cache: Any, number: Any, rows: list[dict[tuple[str, int], Tensor]]) -> Any:
    """A cache of its own in which this layer holds the states of all rows, one after the other along the batch."""
    found = keepers_off(copy.copy(cache))
    found.layers = list(cache.layers)
    found.layers[number] = layer = copy.copy(cache.layers[number])
    for name in STATES:
        if getattr(layer, name, None) is not None:
            setattr(layer, name, dict(getattr(layer, name)))
    for name, index in rows[0]:
        getattr(layer, name)[index] = torch.cat([row[name, index] for row in rows])
    return found
