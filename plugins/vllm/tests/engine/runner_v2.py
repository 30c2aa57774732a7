"""Texts out of vLLM's second model runner on a CPU, its Triton kernels run by Triton's interpreter.

`python runner_v2.py FOLDER OUT`: a process of its own, because vLLM decides at import whether there is a Triton for it.
The interpreter is thousands of times slower than a card; a few tokens are enough to see requests come, move and leave.
"""

from __future__ import annotations

import os

os.environ |= {
    "TRITON_INTERPRET": "1",
    "VLLM_USE_V2_MODEL_RUNNER": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from triton.backends import backends
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver

from reference import RUNNER_NAMES, RUNNER_TOKENS


class Interpreted:
    """Stands in for the driver of triton-cpu, which vLLM looks for; the interpreter needs none."""

    @staticmethod
    def is_active() -> bool:
        return False

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device=None) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cpu", 0, 1)


backends["cpu"] = SimpleNamespace(driver=Interpreted, compiler=None)
driver.set_active(Interpreted())


def main(folder: Path, out: Path) -> None:
    """Every setting on two prompts, three requests at a time, with readings."""
    from vllm import LLM, SamplingParams

    from lvlm_saliency_vllm import generate

    known = json.loads((folder / "reference.json").read_text())
    llm = LLM(
        str(folder / "llama"),
        dtype="float32",
        enforce_eager=True,
        max_model_len=128,
        max_num_seqs=3,
        max_num_batched_tokens=32,
        block_size=32,
        gpu_memory_utilization=0.1,
        skip_tokenizer_init=True,
    )
    runner = llm.llm_engine.engine_core.engine_core.model_executor.driver_worker.worker.model_runner
    given, params = [], []
    for name in RUNNER_NAMES:
        extra = {f"locore_{key}": value for key, value in (known["settings"][name] or {}).items()}
        extra |= {"locore_layers": [1, 3]} if name == "layers" else {}
        for number in range(2):
            given.append({"prompt_token_ids": known["grouped"]["prompts"][number]})
            # Of unequal length, so that slots are left and taken again.
            params.append(
                SamplingParams(temperature=0, max_tokens=RUNNER_TOKENS - 3 * number, extra_args=extra or None)
            )
    texts = generate(llm, given, params, use_tqdm=False)
    found = {
        "runner": type(runner).__module__,
        "tokens": [list(text.grounding.token_ids) for text in texts],
        "rows": [text.grounding.rows.tolist() for text in texts],
        "entropy": [text.grounding.entropy.tolist() for text in texts],
    }
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
