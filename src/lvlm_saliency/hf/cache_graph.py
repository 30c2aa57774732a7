"""Keeps autograd graphs out of caches: what a differentiated call writes into the cache is detached.

Otherwise the cache would hold the graph of every past step, and the gradient of a step would be copied through tensors
as long as the whole context. The call itself still differentiates through the keys and values of its own tokens and the
states of its own step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency.errors import UnsupportedModelError


class Fresh:
    """The keys and values of a call with their graph, looked up by the tensors that the cache returned for them.

    Layers that share keys and values use the same tensor objects as another layer, so identity finds those too.
    """

    def __init__(self) -> None:
        self._found: dict[int, tuple[Tensor, Tensor]] = {}  # id of the cache's tensor -> that tensor, the new rows

    def add(self, stored: Tensor, new: Tensor) -> None:
        self._found[id(stored)] = stored, new

    def rows(self, stored: Tensor, first: int, count: int) -> Tensor:
        """The last `count` rows of this call, in the graph, of a key or value `[B, G, K, D]` as a layer attends to it.

        Args:
            first: column of the first of these rows, for what did not come out of a cache as it is: keys made from
                latents, or repeated for other heads, or a call without a cache. Autograd goes through a slice of it.
        """
        found = self._found.get(id(stored))
        if found is None:
            return stored[:, :, first : first + count]
        new = found[1]
        return new if new.shape[2] == count else new[:, :, -count:]


class _Written(torch.autograd.Function):
    """A tensor of the cache, neither changed nor copied, whose gradient goes to the rows that this call wrote."""

    @staticmethod
    def forward(ctx: Any, stored: Any, new: Any, start: Any) -> Any:
        ctx.span = slice(start, start + new.shape[-2])
        return stored.view_as(stored)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return None, gradient[..., ctx.span, :], None


class _State(Tensor):
    """A recurrent or convolution state, as a call inside a graph receives it. In-place copies by model code go to the
    cache's own copy (`kept`), so that the graph keeps the state that the step began with.

    Reading it after that would give the old state, and other in-place operations are not supported: both raise.
    """

    kept: Tensor
    note: dict[str, Any]
    """Of a state and its parts: `whole` and `written`, whether and how they were copied over."""

    @classmethod
    def of(cls, state: Tensor, kept: Tensor, note: dict[str, Any]) -> _State:
        made = state.as_subclass(cls)
        made.kept, made.note = kept, note
        return made

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, first = getattr(function, "__name__", ""), args[0] if args else None
        if function is Tensor.copy_ and isinstance(first, cls):
            with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
                first.kept.copy_(args[1])
            first.note["written"] = True
            return first
        with torch._C.DisableTorchFunctionSubclass():
            if isinstance(first, cls) and name in ("__getitem__", "select", "chunk", "unbind", "split"):
                found, kept = (function(x, *args[1:], **kwargs) for x in (first, first.kept))
                if isinstance(found, Tensor):
                    return cls.of(found, kept, first.note) if found._is_view() else found
                return type(found)(cls.of(f, k, first.note) for f, k in zip(found, kept, strict=True))
            if isinstance(first, cls) and name.endswith("_") and not name.endswith("__"):
                raise UnsupportedModelError(f"a layer changes its state in place by {name}, which is not known here")
            return function(*args, **kwargs)


class _Keeper:
    """Wraps a cache for one call; each method here replaces the cache's own and calls it."""

    def __init__(self, cache: Any, fresh: Fresh, past: int) -> None:
        self.cache, self.fresh, self.past = cache, fresh, past
        # (name, layer, index) of each state handed out -> its note
        self.taken: dict[tuple[str, int, int], dict[str, Any]] = {}

    def update(self, key: Any, value: Any, layer_idx: Any, *args: Any, **kwargs: Any) -> Any:
        update = type(self.cache).update.__get__(self.cache)
        if not key.requires_grad and not value.requires_grad:
            return update(key, value, layer_idx, *args, **kwargs)
        with torch.no_grad():
            stored = update(key.detach(), value.detach(), layer_idx, *args, **kwargs)
        return tuple(self._in_graph(*pair) for pair in zip(stored, (key, value), strict=True))

    def _in_graph(self, stored: Tensor, new: Tensor) -> Tensor:
        if not new.requires_grad:
            return stored
        start = min(self.past, stored.shape[-2] - new.shape[-2])  # a static cache has empty columns behind
        stored = _Written.apply(stored, new, start)
        self.fresh.add(stored, new)
        return stored

    def get_conv_state(self, layer_idx: Any, state_idx: Any = 0) -> Any:
        return self._hand_out("conv_state", layer_idx, state_idx)

    def get_recurrent_state(self, layer_idx: Any, state_idx: Any = 0) -> Any:
        return self._hand_out("recurrent_state", layer_idx, state_idx)

    def _hand_out(self, name: str, layer: int, index: int) -> Any:
        state = getattr(type(self.cache), f"get_{name}")(self.cache, layer, state_idx=index)
        if state is None or not torch.is_grad_enabled():
            return state
        kept = getattr(self.cache.layers[layer], f"{name}s")[index] = state.detach().clone()
        note = self.taken[name, layer, index] = {"written": False}
        return _State.of(state.detach(), kept, note)

    def update_conv_state(self, conv_states: Any, layer_idx: Any, state_idx: Any = 0, **kwargs: Any) -> Any:
        states = self.cache.layers[layer_idx].conv_states
        if torch.is_grad_enabled() and states.get(state_idx) is not None:
            states[state_idx] = states[state_idx].detach().clone()  # it is written over in place
        self.taken["conv_state", layer_idx, state_idx] = {"written": True}
        return type(self.cache).update_conv_state(self.cache, conv_states, layer_idx, state_idx=state_idx, **kwargs)

    def update_recurrent_state(self, recurrent_states: Any, layer_idx: Any, state_idx: Any = 0, **kwargs: Any) -> Any:
        states = self.cache.layers[layer_idx].recurrent_states
        self.taken["recurrent_state", layer_idx, state_idx] = {"written": True}
        if not torch.is_grad_enabled() or states.get(state_idx) is None:
            own = type(self.cache).update_recurrent_state
            return own(self.cache, recurrent_states, layer_idx, state_idx=state_idx, **kwargs)
        states[state_idx] = recurrent_states.detach().to(states[state_idx].dtype)
        return recurrent_states


_METHODS = ("update", "get_conv_state", "get_recurrent_state", "update_conv_state", "update_recurrent_state")


def keep_graph_out_of_cache(cache: Any, fresh: Fresh, past: int) -> None:
    """Until `release_cache`, detach what is written into the cache, and keep the new keys and values with their graph
    in `fresh`. `past`: number of tokens in the cache."""
    keeper = _Keeper(cache, fresh, past)
    for name in _METHODS:
        if hasattr(type(cache), name):
            setattr(cache, name, getattr(keeper, name))


def keepers_off(cache: Any) -> Any:
    """The cache (a copy made inside a call) without the wrapper of `keep_graph_out_of_cache`."""
    for name in _METHODS:
        vars(cache).pop(name, None)
    return cache


def detach_held(module: Any, names: Sequence[str]) -> None:
    """Detach the tensors that a module keeps under these names between calls."""
    for name in names:
        state = getattr(module, name, None)
        if isinstance(state, Tensor) and state.requires_grad:
            setattr(module, name, state.detach())


def release_cache(cache: Any) -> None:
    """Undo `keep_graph_out_of_cache`, and detach what layers without attention have written into the cache.

    Raises:
        UnsupportedModelError: a layer computed its next state outside the graph (a fused kernel without a gradient), so
            that the rows of lower layers would be wrong.
    """
    mine = vars(cache)
    if "update" not in mine:
        return
    keeper = mine["update"].__self__
    for name in _METHODS:
        mine.pop(name, None)
    for layer in getattr(cache, "layers", ()):
        for states in (getattr(layer, "conv_states", None), getattr(layer, "recurrent_states", None)):
            held = states or {}
            for index, state in held.items():
                if state is not None and state.requires_grad:
                    held[index] = state.detach()
    lost = sorted({layer for (_, layer, _), note in keeper.taken.items() if not note["written"]})
    if lost:
        raise UnsupportedModelError(
            f"layers {', '.join(map(str, lost))} run on a kernel without a gradient (mamba_ssm, causal_conv1d or the "
            "like): use an environment without it"
        )
