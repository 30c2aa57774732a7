"""The prefix cache: a block of keys that was written under LocoRE serves only a request that would write it alike.

vLLM names each full block by a hash of its tokens, of the blocks before it and of "extra keys". Blocks of the prompt
are the same with LocoRE and without, and stay shared. A block that holds a position behind n0 gets one more extra key,
the settings and n0: LocoRE changes rows from position n0 + 1 on, and so their keys in the layers above. The same text
written again under the same settings finds its blocks, and so does a request that goes on after it was preempted;
anybody else, above all the next turn of a conversation, where the answer has become prompt, computes its own.
"""

from __future__ import annotations

import inspect
from typing import Any

from lvlm_saliency_vllm import admission
from lvlm_saliency_vllm.settings import asked

_HOOK, _PARAMETERS = "_gen_prompt_embeds_extra_hash_keys", ["request", "start_token_idx", "end_token_idx"]


def salt_keys(request: Any, end: int) -> list[tuple[str, str]]:
    """The extra keys of a request's block that ends before token `end`: empty, or one salt."""
    params = getattr(request, "sampling_params", None)
    locore = asked(params.extra_args).locore if params is not None and params.extra_args else None
    prompt = request.num_prompt_tokens
    if locore is None or end <= prompt + 1:
        return []
    return [("cache_salt", f"lvlm-saliency {locore.name} prompt={prompt}")]


def install() -> None:
    """Make vLLM's block hashing ask `salt_keys` too.

    It has no public place for that; what is wrapped is the function that tells the keys of a block of prompt
    embeddings, which alone is asked with a block's bounds. Where this vLLM hashes otherwise, nothing is changed, and
    engines with prefix caching are refused (`admission.problem`).
    """
    from vllm.v1.core import kv_cache_utils

    plain = getattr(kv_cache_utils, _HOOK, None)
    if plain is None or getattr(plain, "salted", False):
        return
    called = _HOOK in kv_cache_utils.generate_block_hash_extra_keys.__code__.co_names
    if not called or list(inspect.signature(plain).parameters) != _PARAMETERS:
        return

    def with_salt(request: Any, start_token_idx: int, end_token_idx: int) -> list[Any]:
        return [*plain(request, start_token_idx, end_token_idx), *salt_keys(request, end_token_idx)]

    with_salt.salted = True
    setattr(kv_cache_utils, _HOOK, with_salt)
    admission.state["salted"] = True
