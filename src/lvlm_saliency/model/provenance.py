"""What a result depends on: hashes of model, pictures and prompts, versions, machine."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("lvlm-saliency", "torch", "transformers", "tokenizers", "numpy", "pillow")
SAMPLED = 4096


def digest(parts: Iterable[str]) -> str:
    """SHA-256 of the parts, each ended by a zero byte."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode() + b"\0")
    return total.hexdigest()


def versions() -> dict[str, str]:
    """Of the packages that decide what a model writes."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def fingerprint(model: Any) -> str:
    """SHA-256 over every weight's name, shape and type and up to 4,096 of its values, evenly spaced.

    Taken from the weights in memory, so that it also names a model that no file holds; it depends on their dtype.
    """
    import torch

    total = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        total.update(f"{name} {list(weight.shape)} {weight.dtype}\n".encode())
        flat = weight.detach().reshape(-1)
        step = max(1, flat.numel() // SAMPLED)
        total.update(flat[::step][:SAMPLED].contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def identity(model: Any) -> dict[str, str]:
    """What processes that work together must agree on: weights and releases."""
    return {"weights": fingerprint(model), **versions()}


def model_record(model: Any) -> dict[str, Any]:
    """What a model is and how it decodes by itself, JSON-ready."""
    generation = model.generation_config.to_diff_dict()
    generation.pop("transformers_version", None)
    return {
        "class": type(model).__name__,
        "weights": fingerprint(model),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "commit": getattr(model.config, "_commit_hash", None),
        "generation_config": generation,
    }


def machine() -> str:
    """Processor or GPU, and cores."""
    import os

    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
