"""What all tests inside vLLM share: the reference that lvlm_saliency writes, and engines on converted checkpoints."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lvlm_saliency_vllm.convert import convert

ROOT = Path(__file__).resolve().parents[4]
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the engine in this process: tests look at its scheduler


class Reference:
    """Pictures, prompts, tokens and traces, written by lvlm_saliency itself."""

    def __init__(self, folder: Path):
        self.folder = folder
        known = json.loads((folder / "reference.json").read_text())
        self.settings, self.scenes, self.grouped = known["settings"], known["scenes"], known["grouped"]
        self.traces = dict(np.load(folder / "traces.npz"))
        self.model, self.llama = folder / "converted", folder / "llama"

    def extra(self, name: str) -> dict:
        """A setting as the extra arguments of a request."""
        return {f"locore_{key}": value for key, value in (self.settings[name] or {}).items()}

    def picture(self, number: int) -> Image.Image:
        return Image.open(self.folder / f"{number}.png").convert("RGB")

    def prompt(self, number: int) -> dict:
        """A picture and the question, as vLLM takes them."""
        return {"prompt": self.scenes["prompt"], "multi_modal_data": {"image": self.picture(number)}}

    @property
    def pictures(self) -> int:
        return len(self.scenes["tokens"]["plain"])


@pytest.fixture(scope="session")
def reference(tmp_path_factory) -> Reference:
    """Written anew by the project's own environment; LVLM_SALIENCY_REFERENCE names a folder that is kept."""
    folder = Path(os.environ.get("LVLM_SALIENCY_REFERENCE") or tmp_path_factory.mktemp("reference"))
    if not (folder / "reference.json").exists():
        python = os.environ.get("LVLM_SALIENCY_PYTHON", str(ROOT / ".venv" / "bin" / "python"))
        own = {key: value for key, value in os.environ.items() if not key.startswith("VLLM")}
        script = Path(__file__).parent / "reference.py"
        subprocess.run([python, script, folder], check=True, env={**own, "PYTHONPATH": str(ROOT / "src")})
    if not (folder / "converted").exists():
        convert(ROOT / "src" / "lvlm_saliency" / "scenes" / "model", folder / "converted")
    return Reference(folder)


SMALL = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 256,
    "max_num_seqs": 8,
    "block_size": 32,
    "gpu_memory_utilization": 0.1,
}


@contextmanager
def engine(model: Path, **settings) -> Iterator:
    """A vLLM of its own, shut down at the end. One lives at a time: they share the process's groups."""
    from vllm import LLM

    _shut_down_the_kept()
    llm = LLM(str(model), **{**SMALL, **settings})
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()


_kept: list = []


def _shut_down_the_kept() -> None:
    while _kept:
        _kept.pop().llm_engine.engine_core.shutdown()


@pytest.fixture
def scenes(reference):
    """The shipped model in vLLM, with prefix caching and chunked prefill as vLLM has them by default; kept from test to
    test until one needs an engine of its own."""
    from vllm import LLM

    if not _kept:
        _kept.append(LLM(str(reference.model), **SMALL))
    return _kept[0]


def greedy(extra: dict | None = None, tokens: int = 72, **settings):
    """Sampling parameters of a greedy text."""
    from vllm import SamplingParams

    return SamplingParams(temperature=0, max_tokens=tokens, extra_args=extra or None, **settings)


def written(outputs) -> list[list[int]]:
    """The tokens of each output."""
    return [list(output.outputs[0].token_ids) for output in outputs]


def all_requests(reference: Reference, repeat: int = 1):
    """Every picture under every setting: prompts, parameters, and the tokens that lvlm_saliency writes."""
    prompts, params, want = [], [], []
    for _ in range(repeat):
        for name in reference.settings:
            for number in range(reference.pictures):
                prompts.append(reference.prompt(number))
                params.append(greedy(reference.extra(name)))
                want.append(reference.scenes["tokens"][name][number])
    return prompts, params, want
