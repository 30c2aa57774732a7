"""The `device` argument, for every command and for `load_model`."""

from __future__ import annotations

from typing import Any

import torch

from lvlm_saliency.errors import InputError

AUTO, SPREAD = "auto", "spread"


def placement(device: str | torch.device | dict[str, Any] | None) -> tuple[str | torch.device | None, Any]:
    """(device to put the model on, None) or (None, `device_map`).

    None and "auto" are a CUDA GPU when there is one, else the CPU; "spread" is all GPUs, then main memory
    (transformers' `device_map="auto"`); a mapping is a `device_map`; anything else is a device of torch.

    Raises:
        InputError: torch does not know the device, or this machine does not have it.
    """
    if device is None or device == AUTO:
        return ("cuda" if torch.cuda.is_available() else "cpu"), None
    if device == SPREAD:
        return None, "auto"
    if isinstance(device, dict):
        return None, device
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).split("\n", maxsplit=1)[0].rstrip(".")
        raise InputError(f"device {str(device)!r} cannot be used here ({reason}); try cpu") from error
    return device, None
