"""Records everything about a model that a method could leave changed, and compares it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

_PLAIN = (bool, int, float, str, type(None))


def state_of(model: nn.Module) -> dict[str, Any]:
    """Hooks, attributes, training flags, weights (as versions, not values) and settings, by name.

    Of an attribute that is a tensor only its presence counts, since Qwen-VL keeps the offsets of its last prompt there.
    """
    found: dict[str, Any] = {}
    configs: dict[int, Any] = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            found[f"{name or 'model'}.{key}"] = _trace_of(value)
        for config in (getattr(module, key, None) for key in ("config", "generation_config")):
            if hasattr(config, "to_dict"):
                configs.setdefault(id(config), (name, config))
    for name, config in configs.values():
        label = f"{name or 'model'}: {type(config).__name__}"
        found[label] = repr(sorted(config.to_dict().items(), key=lambda item: str(item[0])))
        found[f"{label}._attn_implementation"] = getattr(config, "_attn_implementation", None)
    for name, weight in model.named_parameters():
        version = None if weight.is_inference() else weight._version
        found[f"weight {name}"] = (version, weight.requires_grad, weight.grad is None, weight.data_ptr())
    return found


def _trace_of(value: Any) -> Any:
    """What is remembered of an attribute: plain values, the members of a dict (of hooks, of modules), or which object
    it is."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Tensor):
        return "a tensor"
    if isinstance(value, dict):
        return tuple((key, id(member)) for key, member in value.items())
    return id(value)


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names under which the two differ, in order."""
    return [name for name in dict.fromkeys([*before, *after]) if before.get(name, before) != after.get(name, after)]


@contextmanager
def in_evaluation_mode(model: nn.Module) -> Iterator[None]:
    """`model.eval()` for the length of the block; every module's own flag afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training
