"""Loading by name: what is there loads, and what is not gets one line that says what to do."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, errors
from safetensors.torch import load_file, save_file
from transformers import BitsAndBytesConfig, CLIPVisionConfig, CLIPVisionModel

from lvlm_saliency.errors import ModelError
from lvlm_saliency.model import checkpoints
from lvlm_saliency.model import load as models
from lvlm_saliency.model.load import load_model
from lvlm_saliency.model.processors import PicturesOnly
from zoo import FAMILIES, REFUSED, Family


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the small LLaVA checkpoint, to be damaged."""
    return Path(shutil.copytree(FAMILIES["llava"].folder(), tmp_path / "llava"))


def refusal(name, **settings) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(name, **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    assert caught.value.exit_status == 2
    return message


def edit_config(folder: Path, **changes) -> None:
    file = folder / "config.json"
    config = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_every_family_loads(family: Family):
    model, processor = load_model(family.folder())
    assert not model.training
    assert model.dtype == torch.float32
    inputs = family.inputs()
    expected = family.build()[0].generate(**inputs, max_new_tokens=3, do_sample=False)
    assert torch.equal(model.generate(**inputs, max_new_tokens=3, do_sample=False), expected)
    if not family.text_only:
        again = processor(
            images=family.pictures(), text=family.prompts(), return_tensors="pt", add_special_tokens=False
        )
        assert torch.equal(again["pixel_values"], inputs["pixel_values"])
        assert torch.equal(again["input_ids"], inputs["input_ids"])


@pytest.mark.parametrize(("dtype", "expected"), [("bfloat16", torch.bfloat16), (torch.float16, torch.float16)])
def test_dtype(dtype, expected):
    assert load_model(FAMILIES["llama"].folder(), dtype=dtype)[0].dtype == expected


def test_dtype_auto_is_the_checkpoint_s_own(tmp_path):
    model, tokenizer = FAMILIES["llama"].fresh()
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_model(tmp_path)[0].dtype == torch.bfloat16
    assert "unknown dtype 'floaty'" in refusal(tmp_path, dtype="floaty")
    assert "unknown dtype 'int8'" in refusal(tmp_path, dtype="int8")


def test_the_model_in_the_package_is_widened_on_a_cpu(tmp_path, monkeypatch):
    model, processor = FAMILIES["llava"].fresh()
    model.half().save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(checkpoints, "SCENES", tmp_path / "model")
    monkeypatch.setattr(models, "SCENES", tmp_path / "model")
    assert load_model("scenes", device="cpu")[0].dtype == torch.float32
    assert load_model("scenes", device="cpu", dtype="float16")[0].dtype == torch.float16
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenes").mkdir()  # as `lvlm-saliency data scenes` may write it
    load_model("scenes")
    assert "no config.json" in refusal("./scenes")
    shutil.rmtree(tmp_path / "model")
    assert "not part of this installation" in refusal("scenes")


@pytest.mark.parametrize("device", ["cpu", "auto", "spread", {"": "cpu"}, torch.device("cpu")])
def test_devices(device):
    pytest.importorskip("accelerate")
    assert load_model(FAMILIES["llama"].folder(), device=device)[0].device.type == "cpu"


def test_attention_backend_is_passed_on():
    model = load_model(FAMILIES["llama"].folder(), attn_implementation="eager")[0]
    assert model.config._attn_implementation == "eager"


def test_quantised_weights():
    pytest.importorskip("bitsandbytes")
    settings = BitsAndBytesConfig(load_in_4bit=True)
    model = load_model(FAMILIES["llama"].folder(), quantization_config=settings, device="cpu")[0]
    assert model.is_quantized
    assert type(model.model.layers[0].self_attn.q_proj).__name__ == "Linear4bit"


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


def unreachable(*args, **kwargs):
    raise OSError("no route to host")


def test_hub_that_cannot_be_reached(monkeypatch):
    monkeypatch.setattr(HfApi, "model_info", unreachable)
    message = refusal("nobody/has-this-model")
    assert "nobody/has-this-model" in message
    assert "folder" in message
    assert "no route to host" in refusal("nobody/has-this-model", local_files_only=False)


def test_hub_is_not_asked_when_told_so(monkeypatch):
    def asked(*args, **kwargs):
        pytest.fail("the hub was asked")

    monkeypatch.setattr(HfApi, "model_info", asked)
    assert "not in the local cache" in refusal("nobody/has-this-model", local_files_only=True)


class Answer:
    """What an error of the hub client wants to know of the answer."""

    headers = MappingProxyType({})
    request = None
    status_code = 404


@pytest.mark.parametrize(
    ("error", "expected"),
    [(errors.RepositoryNotFoundError, "no such model"), (errors.RevisionNotFoundError, "no revision 'v9'")],
)
def test_hub_that_has_it_not(monkeypatch, error, expected):
    def answer(*args, **kwargs):
        raise error("404", response=Answer())

    monkeypatch.setattr(HfApi, "model_info", answer)
    assert expected in refusal("nobody/has-this-model", revision="v9")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["config.json", "pytorch_model.bin"], "pickle"),
        (["README.md"], "no config.json"),
        (["adapter_config.json", "adapter_model.safetensors"], "an adapter alone"),
        (["config.json"], "no weights"),
    ],
)
def test_hub_repositories_are_checked_before_they_are_fetched(monkeypatch, files, expected):
    listing = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in files])
    monkeypatch.setattr(HfApi, "model_info", lambda *args, **kwargs: listing)
    assert expected in refusal("somebody/some-model")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", None)
    assert "pip install num2words" in refusal(FAMILIES["smolvlm"].folder())


def test_families_with_videos_load_without_torchvision(monkeypatch, tmp_path):
    """Pictures need no video processor; its settings are kept, so that saving the processor loses nothing."""
    monkeypatch.setattr("lvlm_saliency.model.processors.is_torchvision_available", lambda: False)
    processor = load_model(FAMILIES["smolvlm"].folder())[1]
    assert isinstance(processor.video_processor, PicturesOnly)
    assert processor.video_processor.num_frames == 4
    processor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "processor_config.json").read_text())
    assert saved["processor_class"] == "SmolVLMProcessor"
    assert saved["video_processor"]["video_processor_type"] == "SmolVLMVideoProcessor"
    with pytest.raises(ValueError, match="videos need torchvision"):
        processor(videos=[np.zeros((2, 3, 24, 24), np.uint8)], text=["<video>"])
