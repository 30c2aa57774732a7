"""The FlashAttention backend on a CPU: its two kernels in plain torch, ours in Triton's interpreter.

`python flash_on_cpu.py FOLDER OUT`: what is proved is the path around the kernels (which rows, which addresses, which
tensors a graph would read), not the kernels of a card. A process of its own: it takes the place of vLLM's modules.
"""

from __future__ import annotations

import os

os.environ |= {
    "TRITON_INTERPRET": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}

import json
import sys
from pathlib import Path

import torch
from vllm.v1.attention.backends import fa_utils


def attend(
    q, k, v, out, cu_seqlens_q, seqused_k, softmax_scale, window_size, block_table, return_softmax_lse=False, **_
):
    """What flash_attn_varlen_func gives: causal rows against pages, and their log-sum-exps `[H, T]`."""
    from lvlm_saliency_vllm import merge

    lse = torch.zeros(q.shape[1], q.shape[0])
    starts, lengths = cu_seqlens_q.tolist(), seqused_k.tolist()
    for number, length in enumerate(lengths):
        rows = slice(starts[number], starts[number + 1])
        count = rows.stop - rows.start
        if not count:
            continue
        position = torch.arange(length - count, length)
        scores = merge.scores_of(
            q[rows], k, block_table[number], position, length, softmax_scale, 0, window_size[0] + 1
        )
        lse[:, rows] = torch.logsumexp(scores, -1).T
        out[rows] = merge.values_of(torch.softmax(scores, -1), v, block_table[number])
    return (out, lse) if return_softmax_lse else out


def write_cache(key, value, key_cache, value_cache, slot_mapping, *_):
    """What reshape_and_cache_flash does."""
    size = key_cache.shape[1]
    for row, slot in enumerate(slot_mapping.tolist()):
        if slot >= 0:
            key_cache[slot // size, slot % size], value_cache[slot // size, slot % size] = key[row], value[row]


fa_utils.flash_attn_varlen_func = attend
fa_utils.get_flash_attn_version = lambda **_: 2

from vllm.v1.attention.backends import flash_attn  # noqa: E402 (what it imports is put in its place first)

flash_attn.reshape_and_cache_flash = write_cache
flash_attn.get_flash_attn_version = lambda *_, **__: 2
flash_attn._FA4_DENSE_ATTENTION_KERNEL = attend


def main(folder: Path, out: Path) -> None:
    """Tokens and readings under every setting; with LVLM_SALIENCY_GRAPHS=full from the tensors that a graph reads."""
    from vllm import LLM, SamplingParams
    from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend

    import lvlm_saliency_vllm
    from lvlm_saliency_vllm import flash, generate

    lvlm_saliency_vllm.register()
    flash.SaliencyFlashBackend.supported_dtypes = [torch.float32]
    register_backend(AttentionBackendEnum.CPU_ATTN, "lvlm_saliency_vllm.flash.SaliencyFlashBackend")
    lvlm_saliency_vllm.register = lambda: None  # vLLM calls it once more, and would choose the CPU's backend
    known = json.loads((folder / "reference.json").read_text())
    full = flash.FULL_GRAPHS
    names = [name for name in known["settings"] if not (full and name in ("logit", "layers"))]
    llm = LLM(
        str(folder / "llama"),
        dtype="float32",
        enforce_eager=True,
        max_model_len=128,
        max_num_seqs=4,
        max_num_batched_tokens=32,
        block_size=32,
        gpu_memory_utilization=0.1,
        skip_tokenizer_init=True,
    )
    layer = next(iter(llm.llm_engine.vllm_config.compilation_config.static_forward_context.values()))
    given, params = [], []
    for name in names:
        extra = {f"locore_{key}": value for key, value in (known["settings"][name] or {}).items()}
        extra |= {"locore_layers": [1, 3]} if name == "layers" else {}
        for number in range(2):
            given.append({"prompt_token_ids": known["grouped"]["prompts"][number]})
            params.append(SamplingParams(temperature=0, max_tokens=16 - 3 * number, extra_args=extra or None))
    found = {"impl": type(layer.impl).__name__, "names": names}
    if full:
        outputs = llm.generate(given, params, use_tqdm=False)
        found["tokens"] = [list(output.outputs[0].token_ids) for output in outputs]
    else:
        texts = generate(llm, given, params, use_tqdm=False)
        found["tokens"] = [list(text.grounding.token_ids) for text in texts]
        found["rows"] = [text.grounding.rows.tolist() for text in texts]
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
