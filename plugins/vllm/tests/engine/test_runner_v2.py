"""vLLM's second model runner, the one of cards: the same tokens and readings, on a CPU by Triton's interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from conftest import engine, greedy
from lvlm_saliency_vllm import generate
from reference import RUNNER_NAMES as NAMES
from reference import RUNNER_TOKENS as TOKENS


def test_tokens_and_readings_of_runner_v2(reference, tmp_path):
    script, out = Path(__file__).parent / "runner_v2.py", tmp_path / "found.json"
    subprocess.run([sys.executable, script, reference.folder, out], check=True)
    found = json.loads(out.read_text())
    assert found["runner"] == "vllm.v1.worker.cpu.model_runner"
    known = reference.grouped
    given = [{"prompt_token_ids": known["prompts"][number]} for _ in NAMES for number in range(2)]
    want = [known["tokens"][name][number][: TOKENS - 3 * number] for name in NAMES for number in range(2)]
    assert found["tokens"] == want
    params = []
    for name in NAMES:
        extra = reference.extra(name) | ({"locore_layers": [1, 3]} if name == "layers" else {})
        params += [greedy(extra, TOKENS - 3 * number) for number in range(2)]
    with engine(reference.llama, skip_tokenizer_init=True) as llm:
        texts = generate(llm, given, params, use_tqdm=False)
    for text, rows, entropy in zip(texts, found["rows"], found["entropy"], strict=True):
        np.testing.assert_allclose(np.array(rows, dtype=np.float32), text.grounding.rows, atol=1e-5)
        np.testing.assert_allclose(entropy, text.grounding.entropy, atol=1e-4)
