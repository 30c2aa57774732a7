"""A folder that is no whole checkpoint, or is not served, gets one line; no pickle is opened, no remote code is run."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModel

from lvlm_saliency.errors import ModelError
from lvlm_saliency.model.load import load_model
from refusal import refusal
from zoo import FAMILIES, REFUSED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the small LLaVA checkpoint, to be damaged."""
    return Path(shutil.copytree(FAMILIES["llava"].folder(), tmp_path / "llava"))


def edit_config(folder: Path, **changes) -> None:
    file = folder / "config.json"
    config = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_names_that_lead_nowhere(folder, monkeypatch):
    assert "no folder './nowhere'" in refusal("./nowhere")
    assert "no folder '/no/such/place'" in refusal("/no/such/place")
    assert "give the folder" in refusal(folder / "model.safetensors")
    assert "no hub id either" in refusal("a b c")
    assert "no hub id either" in refusal("")


@pytest.mark.parametrize("there", [True, False])
def test_an_adapter_is_not_passed_over(folder, monkeypatch, there):
    """transformers reads it with peft, and without peft loads the model alone."""
    monkeypatch.setattr("lvlm_saliency.model.checkpoints.installed", lambda *names: there and names == ("peft",))
    (folder / "adapter_config.json").write_text("{}" if not there else "[]")
    assert ("no JSON object" if there else "pip install peft") in refusal(folder)


def test_without_config(folder):
    (folder / "config.json").unlink()
    assert "no config.json" in refusal(folder)


def test_config_that_is_no_json(folder):
    (folder / "config.json").write_text("{")
    assert "config.json" in refusal(folder)


def test_config_that_contradicts_itself(folder):
    edit_config(folder, text_config={"model_type": "llama", "hidden_size": "many"})
    assert "does not describe a llava model" in refusal(folder)


def test_without_weights(folder):
    (folder / "model.safetensors").unlink()
    assert "no weights" in refusal(folder)


class Bomb:
    """Runs code when unpickled."""

    def __reduce__(self):
        return (Path("unpickled").touch, ())


def test_a_pickle_is_never_opened(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    load_model(folder)  # safetensors beside it: those are read
    (folder / "model.safetensors").unlink()
    message = refusal(folder)
    assert "pytorch_model.bin" in message
    assert "save_pretrained" in message
    assert not (folder / "unpickled").exists()


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[: len(raw) // 2], lambda raw: raw[:7], lambda raw: b"", lambda raw: b"x" * 99]
)
def test_damaged_weights(folder, damage):
    file = folder / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    message = refusal(folder)
    assert "truncated or corrupt" in message
    assert "model.safetensors" in message


def test_missing_shards(tmp_path):
    model, tokenizer = FAMILIES["llama"].fresh()
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    tokenizer.save_pretrained(tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    load_model(tmp_path)
    shards[1].unlink()
    assert f"lacks 1 of {len(shards)} weight files (first: {shards[1].name})" in refusal(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    assert "index.json cannot be read" in refusal(tmp_path)


def test_weights_that_lack_tensors_or_have_other_shapes(folder):
    """Transformers would fill the gap with random numbers, and warn."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "q_proj" in name)
    save_file({key: value for key, value in weights.items() if key != name}, file, {"format": "pt"})
    assert "lack 1 tensors" in refusal(folder)
    save_file({**weights, name: torch.zeros(3, 3)}, file, {"format": "pt"})
    assert "q_proj.weight is [3, 3], not [64, 64]" in refusal(folder)


@pytest.mark.parametrize(
    "lost", [("tokenizer.json",), ("tokenizer.json", "tokenizer_config.json"), ("processor_config.json",)]
)
def test_without_processor(folder, lost):
    for name in lost:
        (folder / name).unlink()
    assert "processor" in refusal(folder)


def test_remote_code_and_unknown_kinds(folder):
    edit_config(folder, model_type="mystery", auto_map={"AutoModel": "modeling_mystery.Mystery"})
    (folder / "modeling_mystery.py").write_text("raise SystemExit('remote code was run')")
    assert "remote code" in refusal(folder)
    edit_config(folder, auto_map=None)
    assert "'mystery', which this version of transformers does not know" in refusal(folder)
    edit_config(folder, model_type=None)
    assert "names no model_type" in refusal(folder)


def test_a_known_family_needs_no_remote_code(folder):
    """Checkpoints that bring their own copy of a known family's code are loaded with transformers' own."""
    edit_config(folder, auto_map={"AutoModel": "modeling_llava.Llava"})
    (folder / "modeling_llava.py").write_text("raise SystemExit('remote code was run')")
    load_model(folder)


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "llama"])
def test_remote_code_of_a_tokenizer_is_never_run(family, tmp_path, monkeypatch):
    def asked(*args):
        pytest.fail("the user was asked whether to run remote code")

    monkeypatch.setattr("builtins.input", asked)
    folder = Path(shutil.copytree(FAMILIES[family].folder(), tmp_path / family))
    file = folder / "tokenizer_config.json"
    mystery = {"tokenizer_class": "Mystery", "auto_map": {"AutoTokenizer": ["mystery.Mystery", None]}}
    file.write_text(json.dumps({**json.loads(file.read_text()), **mystery}))
    (folder / "mystery.py").write_text("raise SystemExit('remote code was run')")
    with contextlib.suppress(ModelError):  # some families have a tokenizer class to fall back on
        load_model(folder)


def test_models_that_write_no_text(tmp_path):
    assert "a t5 model, which does not continue a prompt" in refusal(REFUSED["t5"].folder())
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=28, patch_size=14)).save_pretrained(tmp_path)
    assert "a clip_vision_model model, which does not continue a prompt" in refusal(tmp_path)
