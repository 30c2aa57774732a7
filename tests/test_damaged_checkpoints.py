"""A damaged or hostile checkpoint loads, or is refused in one line; nothing hangs, and no memory goes to sizes that are
none. A folder has no seal of its own: a number that is another sensible number cannot be told from the right one."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from files.damage import damaged
from lvlm_saliency.errors import ModelError
from lvlm_saliency.model.load import load_model
from refusal import refusal
from zoo import FAMILIES

DAMAGED = ("config.json", "generation_config.json", "tokenizer_config.json", "processor_config.json", "tokenizer.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FAMILIES["llava"].folder(), tmp_path / "llava"))


def walk(folder: Path, name: str, count: int) -> int:
    """Damage a file again and again; how often the folder was refused."""
    file, chance, refused = folder / name, random.Random(name), 0
    content = file.read_bytes()
    head = 8 + int.from_bytes(content[:8], "little") if name.endswith(".safetensors") else len(content)
    for _ in range(count):
        file.write_bytes(damaged(content[:head], chance) + content[head:])
        told = None
        try:
            load_model(folder, device="cpu")
        except ModelError as error:
            told = str(error)
        if told is not None:
            refused += 1
            assert "\n" not in told
    return refused


@pytest.mark.parametrize("name", [*DAMAGED, "model.safetensors"])
def test_damaged_files_of_a_checkpoint(folder, name):
    walk(folder, name, 5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*DAMAGED, "model.safetensors"])
def test_a_thousand_times(folder, name):
    assert walk(folder, name, 1000) > 0


def edited(folder: Path, name: str, *keys: str, value: object) -> None:
    whole = json.loads((folder / name).read_text())
    place = whole
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (folder / name).write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("text_config", "num_hidden_layers"), 10**9),
        (("text_config", "num_hidden_layers"), 9000),
        (("vision_config", "num_hidden_layers"), 10**12),
        (("text_config", "hidden_size"), 10**7),
        (("text_config", "vocab_size"), 10**11),
        (("text_config", "vocab_size"), 10**13),
        (("text_config", "intermediate_size"), 10**9),
        (("vision_config", "image_size"), 10**6),
        (("text_config", "num_hidden_layers"), 1e3),
        (("text_config", "num_hidden_layers"), "many"),
        (("text_config", "hidden_size"), None),
        (("text_config",), []),
        (("model_type",), ["llava"]),
    ],
)
def test_sizes_and_types_in_a_configuration(folder, keys, value):
    edited(folder, "config.json", *keys, value=value)
    assert "config.json" in (told := refusal(folder)) or "weights" in told


@pytest.mark.parametrize(
    "size", [{"height": 10**6, "width": 10**6}, {"shortest_edge": 10**7}, {"height": 10**30, "width": 1}]
)
def test_sizes_of_pictures(folder, size):
    whole = json.loads((folder / "processor_config.json").read_text())
    place = whole.get("image_processor", whole)
    place["size"] = size
    (folder / "processor_config.json").write_text(json.dumps(whole))
    assert "image processor" in refusal(folder)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10**5,
        '{"a":' * 10**4,
        '{"model_type": "llava", "model_type": "llama"}',
        "[]",
        "\ufeff{",
        "\0",
        '{"a": 1e999}',
    ],
)
def test_json_that_is_none(folder, text):
    (folder / "config.json").write_text(text)
    assert "config.json" in refusal(folder)


def test_names_of_tensors_reach_no_terminal(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file(
        {**weights, "x\x1b[31m": weights[next(iter(weights))].clone()}, folder / "model.safetensors", {"format": "pt"}
    )
    told = refusal(folder)
    assert "control characters" in told
    assert told.isprintable()
