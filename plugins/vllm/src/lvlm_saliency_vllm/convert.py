"""Rename a checkpoint's tensors to the names that vLLM takes.

transformers 5.23 writes CLIP and SigLIP towers of LLaVA models as `vision_tower.encoder...`; vLLM 0.32 wants
`vision_tower.vision_model.encoder...`. Nothing but names changes: every tensor is copied bit by bit.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TOWERS = ("clip_vision_model", "siglip_vision_model")
"""Vision towers that vLLM wraps once more."""
OLD, NEW = "vision_tower.", "vision_tower.vision_model."
_COPIED = (".json", ".jinja", ".model", ".txt")


class CheckpointError(ValueError):
    """A folder that is no checkpoint, or one whose names need no change; the line says which."""


def new_name(name: str) -> str:
    """The name that vLLM takes for a tensor."""
    for prefix in ("", "model."):
        if name.startswith(prefix + OLD) and not name.startswith(prefix + NEW):
            return prefix + NEW + name.removeprefix(prefix + OLD)
    return name


def convert(source: str | Path, target: str | Path) -> int:
    """Write the checkpoint of folder `source` to the new folder `target`, with the names that vLLM takes.

    Returns:
        How many tensors were renamed.

    Raises:
        CheckpointError: no checkpoint with such a tower, nothing to rename, a damaged file, or a target that exists.
    """
    source, target = Path(source), Path(target)
    files = sorted(source.glob("*.safetensors"))
    if not files or not (source / "config.json").is_file():
        raise CheckpointError(f"{source} holds no config.json and safetensors files: name the folder of a checkpoint")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tower = (config.get("vision_config") or {}).get("model_type")
    if tower not in TOWERS:
        raise CheckpointError(
            f"{source} has a vision tower of type {tower!r}; names change for {', '.join(TOWERS)} only"
        )
    headers = {file: _header(file) for file in files}
    names = [name for header in headers.values() for name in header if name != "__metadata__"]
    renamed = sum(new_name(name) != name for name in names)
    if not renamed:
        raise CheckpointError(f"{source} has the names that vLLM takes already: serve it as it is")
    if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
        raise CheckpointError(f"{target} is there already; name a new or an empty folder")
    target.mkdir(parents=True, exist_ok=True)
    for file, header in headers.items():
        _write(file, header, target / file.name)
    for other in sorted(source.iterdir()):
        if other.is_file() and other.suffix in _COPIED:
            shutil.copyfile(other, target / other.name)
    index = target / "model.safetensors.index.json"
    if index.is_file():
        content = json.loads(index.read_text(encoding="utf-8"))
        content["weight_map"] = {new_name(name): file for name, file in content["weight_map"].items()}
        index.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return renamed


def _header(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= file.stat().st_size - 8:
            raise CheckpointError(f"{file} is no safetensors file, or is cut off")
        try:
            header = json.loads(opened.read(length))
        except ValueError as error:
            raise CheckpointError(f"{file} has a damaged header: {error}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{file} has a header that is no JSON object")
    return header


def _write(file: Path, header: Mapping[str, Any], target: Path) -> None:
    """The file with new names; the tensors' bytes follow as they are, whatever their size."""
    text = json.dumps({new_name(name): about for name, about in header.items()}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors behind it stay aligned
    with file.open("rb") as old, target.open("wb") as new:
        (length,) = struct.unpack("<Q", old.read(8))
        old.seek(8 + length)
        new.write(struct.pack("<Q", len(text)) + text)
        shutil.copyfileobj(old, new, 1 << 22)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: `python -m lvlm_saliency_vllm.convert SOURCE TARGET`."""
    parser = argparse.ArgumentParser(prog="python -m lvlm_saliency_vllm.convert", description=__doc__)
    parser.add_argument("source", help="folder of the checkpoint")
    parser.add_argument("target", help="new folder")
    given = parser.parse_args(arguments)
    try:
        count = convert(given.source, given.target)
    except (CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{count} tensors renamed; serve {given.target}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
