"""Resumable training state as safetensors (weights and optimiser moments) beside a small JSON of counters."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

State = dict[str, int | float | str]


def save_checkpoint(folder: Path, module: nn.Module, optimisers: list[torch.optim.Optimizer], state: State) -> None:
    """Write the state. The JSON is written last, so that an interrupted write keeps the older checkpoint's counters."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"module.{name}": value.detach().contiguous().clone() for name, value in module.state_dict().items()}
    for which, optimiser in enumerate(optimisers):
        for number, moments in optimiser.state_dict()["state"].items():
            for name, value in moments.items():
                tensors[f"optimiser.{which}.{number}.{name}"] = torch.as_tensor(value).contiguous().clone()
    save_file(tensors, folder / "checkpoint.tmp")
    (folder / "checkpoint.tmp").replace(folder / "checkpoint.safetensors")
    (folder / "checkpoint.json").write_text(json.dumps(state))


def read_state(folder: Path) -> State | None:
    """The counters of the checkpoint in this folder, or None where there is none."""
    path = folder / "checkpoint.json"
    return json.loads(path.read_text()) if path.exists() else None


def load_checkpoint(folder: Path, module: nn.Module, optimisers: list[torch.optim.Optimizer] | None = None) -> None:
    """Load the weights and, if optimisers are given, their moments."""
    tensors = load_file(folder / "checkpoint.safetensors")
    module.load_state_dict({name[7:]: value for name, value in tensors.items() if name.startswith("module.")})
    for which, optimiser in enumerate(optimisers or []):
        content = optimiser.state_dict()
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimiser.{which}."):
                _, _, number, key = name.split(".", 3)
                moments.setdefault(int(number), {})[key] = value
        optimiser.load_state_dict({"state": moments, "param_groups": content["param_groups"]})
