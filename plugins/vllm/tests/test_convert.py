"""Converting checkpoints: names change, bytes do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lvlm_saliency_vllm.convert import CheckpointError, convert, main, new_name


def test_the_shipped_checkpoint(tmp_path):
    scenes = pytest.importorskip("lvlm_saliency.scenes")
    source = Path(scenes.__file__).parent / "model"
    assert convert(source, tmp_path / "new") == 87
    old, new = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "new"))
    assert {new_name(name) for name in old} == set(new)
    assert all(torch.equal(value, new[new_name(name)]) for name, value in old.items())
    assert "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight" in new
    for name in ("config.json", "chat_template.jinja", "tokenizer.json", "processor_config.json"):
        assert (tmp_path / "new" / name).read_bytes() == (source / name).read_bytes()
    with pytest.raises(CheckpointError, match="already: serve it as it is"):
        convert(tmp_path / "new", tmp_path / "newer")


def checkpoint(folder: Path, names: dict[str, list[str]], tower: str | None = "clip_vision_model") -> Path:
    """A checkpoint of small tensors in several files."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"vision_config": {"model_type": tower}} if tower else {}))
    for file, held in names.items():
        save_file({name: torch.rand(2, 3) for name in held}, folder / file, metadata={"format": "pt"})
    where = {name: file for file, held in names.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder


def test_files_in_parts_and_their_index(tmp_path):
    names = {"a.safetensors": ["model.vision_tower.post.weight", "lm_head.weight"], "b.safetensors": ["vision_tower.x"]}
    source = checkpoint(tmp_path / "old", names)
    assert main([str(source), str(tmp_path / "new")]) == 0
    index = json.loads((tmp_path / "new" / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {
        "model.vision_tower.vision_model.post.weight": "a.safetensors",
        "lm_head.weight": "a.safetensors",
        "vision_tower.vision_model.x": "b.safetensors",
    }
    for name, file in index["weight_map"].items():
        assert name in load_file(tmp_path / "new" / file)


def test_refusals(tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    other = checkpoint(tmp_path / "qwen", {"a.safetensors": ["visual.x"]}, tower="qwen2_vl")
    with pytest.raises(CheckpointError, match="vision tower of type 'qwen2_vl'"):
        convert(other, tmp_path / "new")
    text = checkpoint(tmp_path / "text", {"a.safetensors": ["x"]}, tower=None)
    with pytest.raises(CheckpointError, match="vision tower of type None"):
        convert(text, tmp_path / "new")
    source = checkpoint(tmp_path / "old", {"a.safetensors": ["vision_tower.x"]})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    with pytest.raises(CheckpointError, match="is there already"):
        convert(source, tmp_path / "full")
    (source / "a.safetensors").write_bytes(b"\xff" * 30)
    with pytest.raises(CheckpointError, match="no safetensors file"):
        convert(source, tmp_path / "new")
    assert not (tmp_path / "new").exists()
