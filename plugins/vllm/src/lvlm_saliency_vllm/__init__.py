"""LocoRE and grounding inside vLLM: a plug-in, no fork.

vLLM calls `register` in every process of an engine (entry point `vllm.general_plugins`). It needs neither transformers
nor lvlm_saliency of its own; `generate` writes texts with their grounding in this process, the server's endpoint gives
them over HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lvlm_saliency_vllm.grounding import TokenGrounding
    from lvlm_saliency_vllm.offline import GroundedText, generate
    from lvlm_saliency_vllm.risk import CausalRisk

__all__ = ["CausalRisk", "GroundedText", "TokenGrounding", "generate", "register"]

_HOMES = {"CausalRisk": "risk", "GroundedText": "offline", "TokenGrounding": "grounding", "generate": "offline"}


def register() -> None:
    """Put our attention in vLLM's place for it, salt the prefix cache, and teach workers to hand out readings.

    The CPU platform always takes the backend named CPU_ATTN, so that name is overridden; elsewhere ours is CUSTOM, and
    the user chooses it with `--attention-backend CUSTOM`. May be called more than once.
    """
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend

    from lvlm_saliency_vllm import admission, cache_salt, worker

    if current_platform.is_cpu():
        register_backend(AttentionBackendEnum.CPU_ATTN, "lvlm_saliency_vllm.cpu.SaliencyCPUBackend")
    else:
        register_backend(AttentionBackendEnum.CUSTOM, "lvlm_saliency_vllm.flash.SaliencyFlashBackend")
    cache_salt.install()
    worker.install()
    admission.state["registered"] = True


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
