"""The path of cards around its kernels, on a CPU: rows, addresses, layers, and the tensors that a graph would read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import engine, greedy
from lvlm_saliency_vllm import generate


@pytest.mark.parametrize("graphs", ["piecewise", "full"])
def test_tokens_and_readings(reference, tmp_path, graphs):
    script, out = Path(__file__).parent / "flash_on_cpu.py", tmp_path / "found.json"
    settings = {**os.environ, "LVLM_SALIENCY_GRAPHS": graphs}
    subprocess.run([sys.executable, script, reference.folder, out], check=True, env=settings)
    found, known = json.loads(out.read_text()), reference.grouped
    assert found["impl"] == "SaliencyFlashImpl"
    names = found["names"]
    want = [known["tokens"][name][number][: 16 - 3 * number] for name in names for number in range(2)]
    assert found["tokens"] == want
    if graphs == "full":
        return
    given = [{"prompt_token_ids": known["prompts"][number]} for _ in names for number in range(2)]
    params = []
    for name in names:
        extra = reference.extra(name) | ({"locore_layers": [1, 3]} if name == "layers" else {})
        params += [greedy(extra, 16 - 3 * number) for number in range(2)]
    with engine(reference.llama, skip_tokenizer_init=True) as llm:
        texts = generate(llm, given, params, use_tqdm=False)
    for text, rows in zip(texts, found["rows"], strict=True):
        np.testing.assert_allclose(np.array(rows, dtype=np.float32), text.grounding.rows, atol=1e-5)
