"""What the frontend can ask of every worker, by `collective_rpc`: methods that `register` adds to vLLM's workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

STATE, READ = "lvlm_saliency_state", "lvlm_saliency_read"


def _state(self: Any) -> dict[str, Any]:
    """Why this worker can serve nothing of ours (empty where it can), its layers, its model's placeholder ids."""
    from lvlm_saliency_vllm.requests import table_of

    table = table_of(self.vllm_config)
    return {"problem": table.trouble(), "layers": sorted(table.layers)}


def _read(self: Any, keys: Sequence[str], starts: Sequence[int], take: bool) -> list[dict[str, Any]]:
    """The readings of some texts, each from a token on; with `take` they are forgotten."""
    from lvlm_saliency_vllm.requests import table_of

    store = table_of(self.vllm_config).store
    return [(store.take if take else store.read)(key, start) for key, start in zip(keys, starts, strict=True)]


def install() -> None:
    """Add both methods to the class of all workers."""
    from vllm.v1.worker.worker_base import WorkerBase

    setattr(WorkerBase, STATE, _state)
    setattr(WorkerBase, READ, _read)
