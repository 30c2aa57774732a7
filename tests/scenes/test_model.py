"""The shipped model: what its folder holds, how it is loaded and asked, and that it is as good (and as bad) as told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import lvlm_saliency
from lvlm_saliency.scenes.captions import write_caption
from lvlm_saliency.scenes.draw import draw_scene
from lvlm_saliency.scenes.labels import chair_scores, parses
from lvlm_saliency.scenes.world import generate_scenes

MODEL = Path(lvlm_saliency.__file__).parent / "scenes" / "model"
GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())


def _chat(processor, text: str) -> str:
    content = [{"type": "image"}, {"type": "text", "text": text}]
    return processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)


def _ask(shipped, pictures: list[Image.Image], texts: list[str], **settings) -> list[str]:
    model, processor = shipped
    prompts = [_chat(processor, text) for text in texts]
    inputs = processor(images=pictures, text=prompts, padding=True, return_tensors="pt")
    out = model.generate(**inputs, max_new_tokens=96, **settings)
    return processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_the_folder_is_small_and_holds_no_pickle() -> None:
    files = [path for path in MODEL.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8_000_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jinja", ".md"}


def test_weights_are_float16() -> None:
    from safetensors import safe_open

    with safe_open(MODEL / "model.safetensors", framework="pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118


def test_it_is_an_ordinary_llava(shipped) -> None:
    model, processor = shipped
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert model.config.text_config.max_position_embeddings >= 512
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (
        processor.tokenizer.eos_token_id,
        processor.tokenizer.pad_token_id,
    )
    inputs = processor(images=Image.new("RGB", (64, 64)), text="<image> Describe the image.", return_tensors="pt")
    assert (inputs["input_ids"] == model.config.image_token_id).sum() == 64


def test_the_chat_template_tokenises_as_the_processor_does(shipped) -> None:
    _, processor = shipped
    picture = Image.new("RGB", (80, 50), (10, 200, 30))
    content = [{"type": "image", "image": picture}, {"type": "text", "text": "Describe the image."}]
    whole = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    steps = processor(images=picture, text=_chat(processor, "Describe the image."), return_tensors="pt")
    assert torch.equal(whole["input_ids"], steps["input_ids"])
    assert torch.equal(whole["pixel_values"], steps["pixel_values"])


def test_captions_survive_encoding_and_decoding(shipped) -> None:
    tokenizer = shipped[1].tokenizer
    for scene in generate_scenes(50, 9):
        text = write_caption(scene)
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("Is there a DOG in the Image?", "Is there a dog in the image?"),
        ("DESCRIBE the picture.", "Describe the picture."),
        ("what is a zebra", "what is a <unk>"),
    ],
)
def test_prompts_are_read_leniently(shipped, typed: str, read: str) -> None:
    tokenizer = shipped[1].tokenizer
    assert tokenizer.decode(tokenizer(typed, add_special_tokens=False)["input_ids"]) == read


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden['seed']}: {golden['question']}")
def test_golden_outputs(shipped, golden: dict) -> None:
    scene = generate_scenes(1, golden["seed"])[0]
    assert _ask(shipped, [draw_scene(scene)], [golden["question"]]) == [golden["answer"]]


def test_a_batch_says_what_single_calls_say(shipped) -> None:
    pictures = [draw_scene(scene) for scene in generate_scenes(3, 5)]
    texts = ["Describe the image.", "Is there a dog in the image?", "Describe the picture in detail."]
    assert _ask(shipped, pictures, texts) == [
        _ask(shipped, [picture], [text])[0] for picture, text in zip(pictures, texts, strict=True)
    ]


def test_it_sees_and_it_hallucinates(shipped) -> None:
    """Loose bounds on 40 scenes; the floor itself is measured on 1,000 by `training/evaluate.py`, see the card."""
    scenes = generate_scenes(40, 21)
    captions = _ask(shipped, [draw_scene(scene) for scene in scenes], ["Describe the image."] * len(scenes))
    scores = chair_scores(captions, scenes)
    assert sum(map(parses, captions)) >= 38
    assert scores.recall > 0.9
    assert 0.1 < scores.chair_s < 0.5
    assert sum(len(caption.split()) for caption in captions) / len(captions) > 30


@pytest.mark.slow
def test_most_of_what_it_says_is_true(shipped) -> None:
    """Loose bounds on 60 scenes, of statements about what is there; intervals on 1,000 are in the card."""
    from training.evaluate import caption_counts

    scenes = generate_scenes(60, 25)
    captions = _ask(shipped, [draw_scene(scene) for scene in scenes], ["Describe the image."] * len(scenes))
    counts = caption_counts(captions, scenes)
    for kind, floor in {"place": 0.75, "relation": 0.7, "colour": 0.93, "count": 0.88}.items():
        assert counts[f"said_{kind}"].sum() > 20
        assert counts[f"said_{kind}_right"].sum() / counts[f"said_{kind}"].sum() > floor, kind


def test_it_says_yes_to_what_the_scene_suggests(shipped) -> None:
    from training.evaluate import pope_counts

    counts = pope_counts(*shipped, generate_scenes(60, 24))
    accuracy = {category: right.sum() / asked.sum() for category, (right, asked) in counts.items()}
    assert accuracy["random"] > 0.92
    assert accuracy["random"] - accuracy["adversarial"] > 0.05


@pytest.mark.parametrize("prompt", ["Describe the image.", "What is in the picture?", "describe this picture"])
def test_several_wordings_give_a_caption(shipped, prompt: str) -> None:
    scenes = generate_scenes(4, 22)
    captions = _ask(shipped, [draw_scene(scene) for scene in scenes], [prompt] * len(scenes))
    assert sum(map(parses, captions)) >= 3


def test_short_questions_get_short_answers(shipped) -> None:
    asked = [
        (draw_scene(scene), item)
        for scene in generate_scenes(12, 23)
        for item in [item for item in scene.objects if item.count == 1 and item.look == "plain"][:2]
    ]
    answers = _ask(shipped, [picture for picture, _ in asked], [f"What color is the {item.name}?" for _, item in asked])
    right = [answer == f"It is {item.colour}." for answer, (_, item) in zip(answers, asked, strict=True)]
    assert sum(right) / len(right) > 0.9
