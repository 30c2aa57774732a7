"""The layers of a decoder: which have attention, their numbers, and what else links one token to the next."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from torch import nn

from lvlm_saliency.hf import apart, caches

STACKS = ("layers", "h", "blocks")
"""What decoders call their list of layers."""
HELD_STATES = ("conv1d_state", "recurrent_states")
"""Where modules keep a state of their own (RecurrentGemma)."""


@dataclass(frozen=True)
class Layers:
    """What is known of a decoder's layers.

    Attributes:
        numbers: the attention modules, each with its layer's number.
        renumbered: those whose own `layer_idx` is another number (blocks that layers share have none).
        mixing: whether something besides attention carries gradient from one token to the next.
        recurrent: the parts that do, where all of them can run the rows of a block side by side; else empty.
        columns: numbers of the layers that keep only one column per token in the cache.
        deaf: the attention modules that their layers call without the keywords of the call.
        holders: modules that keep a state between calls in themselves instead of in the cache.
        obstacle: why rows cannot be captured on these layers; "" where they can.
    """

    numbers: dict[nn.Module, int] = field(default_factory=dict)
    renumbered: dict[nn.Module, int] = field(default_factory=dict)
    mixing: bool = False
    recurrent: tuple[nn.Module, ...] = ()
    columns: frozenset[int] = frozenset()
    deaf: tuple[nn.Module, ...] = ()
    holders: tuple[nn.Module, ...] = ()
    obstacle: str = ""


NO_LAYERS = Layers()
_known: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # decoder -> (its depth, its Layers)


def layers_of(decoder: nn.Module, config: Any) -> Layers:
    """What is known of this decoder; `config` is the language model's configuration."""
    stack = stack_of(decoder)
    depth = 0 if stack is None else len(stack)
    known = _known.get(decoder)
    if known is None or known[0] != depth:
        known = _known[decoder] = depth, _look(decoder, stack, config)
    return known[1]


def stack_of(decoder: nn.Module | None) -> nn.ModuleList | None:
    """The decoder's list of layers, in order; None where it has none."""
    found = (getattr(decoder, name, None) for name in STACKS)
    return next((stack for stack in found if isinstance(stack, nn.ModuleList)), None)


def attends(decoder: nn.Module) -> bool:
    """Whether any module in it calls transformers' attention interface for a layer of its own."""
    return any(hasattr(module, "layer_idx") and _calls_interface(type(module).forward) for module in decoder.modules())


@functools.cache
def _calls_interface(forward: Callable[..., Any]) -> bool:
    try:
        return "ALL_ATTENTION_FUNCTIONS" in inspect.getsource(forward)
    except (OSError, TypeError):  # no source: not a modelling file of transformers
        return False


def _look(decoder: nn.Module, stack: nn.ModuleList | None, config: Any) -> Layers:
    numbers: dict[nn.Module, int] = {}
    renumbered: dict[nn.Module, int] = {}
    deaf: list[nn.Module] = []
    for place, layer in enumerate(stack or ()):
        for module in layer.modules():
            if hasattr(module, "layer_idx") and _calls_interface(type(module).forward):
                own: object = module.layer_idx
                numbers[module] = own if _is_number(own) else place
                if not _is_number(own):
                    renumbered[module] = place
                if not _passes_keywords_on(type(layer).forward):
                    deaf.append(module)
    if not numbers:  # stacks of stacks; beside a plain stack there may be towers with numbers of their own
        for module in decoder.modules():
            own = getattr(module, "layer_idx", None)
            if _is_number(own) and _calls_interface(type(module).forward):
                numbers[module] = own
    if not numbers:
        return NO_LAYERS
    kinds = caches.kinds_of_layers(config)
    columns = frozenset(number for number, kind in enumerate(kinds) if kind in caches.COLUMNS)
    mixing = len(stack or ()) > len(numbers) or any(kind in caches.STATES for kind in kinds)
    holders = tuple(module for module in decoder.modules() if any(name in vars(module) for name in HELD_STATES))
    recurrent = _recurrent(decoder, kinds) if mixing and not holders else ()
    return Layers(numbers, renumbered, mixing, recurrent, columns, tuple(deaf), holders, _obstacle(numbers, kinds))


def _recurrent(decoder: nn.Module, kinds: list[str]) -> tuple[nn.Module, ...]:
    """The parts that keep a state, where every layer that keeps one has just one such part that is known."""
    found = tuple(module for module in decoder.modules() if apart.separable(module))
    keeping = [number for number, kind in enumerate(kinds) if kind in caches.STATES]
    numbers: list[Any] = [module.layer_idx for module in found]
    return found if sorted(numbers) == keeping else ()


@functools.cache
def _takes_keywords(forward: Callable[..., Any]) -> bool:
    parameters = inspect.signature(forward).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


@functools.cache
def _passes_keywords_on(forward: Callable[..., Any]) -> bool:
    """Whether a decoder layer passes the keywords of its call on to its attention."""
    return inspect.getsource(forward).count("**kwargs") > 1


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and value >= 0


def _obstacle(numbers: dict[nn.Module, int], kinds: list[str]) -> str:
    if len(set(numbers.values())) < len(numbers):
        return "several of its layers share a number, because they run more than once for each token"
    if not all(_takes_keywords(type(module).forward) for module in numbers):
        return "its attention takes no keywords beside its own, so that nothing can be told to it"
    unknown = sorted({kind for kind in kinds if kind not in caches.COLUMNS | caches.STATES})
    if unknown:
        return f"its cache holds {', '.join(unknown)}, whose columns are not known to be those of the tokens"
    return ""
