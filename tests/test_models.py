"""Loading by name: what is there loads, and what the hub has not, or not whole, gets one line that says what to do."""

from __future__ import annotations

import json
import shutil
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, errors
from transformers import BitsAndBytesConfig

from lvlm_saliency.model import checkpoints
from lvlm_saliency.model import load as models
from lvlm_saliency.model.load import load_model
from lvlm_saliency.model.processors import PicturesOnly
from lvlm_saliency.model.regions import PIXELS
from refusal import refusal
from zoo import FAMILIES, Family


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
        pixels = next(name for name in PIXELS if name in inputs)
        assert torch.equal(again[pixels].to(inputs[pixels].dtype), inputs[pixels])
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
