"""Inputs are built for every family, from its chat template or a prompt with placeholders."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import PromptError
from lvlm_saliency.model.inputs import build_inputs
from lvlm_saliency.model.load import load_model
from lvlm_saliency.model.regions import token_regions
from zoo import FAMILIES, Family

SEEING = [name for name, family in FAMILIES.items() if not family.text_only]


def decoded(processor, inputs) -> str:
    return getattr(processor, "tokenizer", processor).decode(inputs["input_ids"][0])


def test_built_inputs_are_those_of_the_chat_template(family: Family):
    model, processor = family.build()
    question = "Describe this image in detail, please."
    built = build_inputs(processor, family.pictures()[0], question, model=model)
    expected = family.inputs()
    assert built["input_ids"].tolist() == expected["input_ids"].tolist()
    assert set(built) == set(expected)
    for name, value in expected.items():
        assert torch.equal(built[name], value), name
    model.generate(**built, max_new_tokens=1)


@pytest.mark.each_kind
def test_a_model_in_half_precision_takes_what_is_built_for_it(family: Family):
    model, processor = load_model(family.folder(), dtype="bfloat16")
    built = build_inputs(processor, family.pictures()[0], "Describe this image.", model=model)
    found = ls.generate(model, built, max_new_tokens=2, min_new_tokens=2, do_sample=False).sequences
    assert found.shape[1] == built["input_ids"].shape[1] + 2


def test_pictures_in_half_precision_come_in_the_models(monkeypatch):
    """As Llama 4's processor makes them, for a model in any precision."""
    family = FAMILIES["llava"]
    model, processor = family.build()
    plain, picture = type(processor).__call__, family.pictures()[0]
    given = build_inputs(processor, picture, "A", model=model)["pixel_values"]
    monkeypatch.setattr(type(processor), "__call__", lambda *args, **more: plain(*args, **more).to(torch.bfloat16))
    assert build_inputs(processor, picture, "A")["pixel_values"].dtype == torch.bfloat16
    built = build_inputs(processor, picture, "A", model=model)
    assert torch.equal(built["pixel_values"], given.bfloat16().float())
    model.generate(**built, max_new_tokens=1)


@pytest.mark.parametrize("name", SEEING)
def test_pictures_go_where_the_placeholders_are(name):
    family = FAMILIES[name]
    model, processor = family.build()
    pictures = family.pictures(images=2)[0]
    built = build_inputs(processor, pictures, "First <image> then <image> at last.", model=model)
    text = decoded(processor, built)
    image = token_regions(model, built).image[0]
    if name != "llava_onevision":  # its template writes all pictures first
        assert text.index("First") < text.index("then") < text.index("at last")
        between = processor.tokenizer.decode(built["input_ids"][0][_between(image)])
        assert "then" in between
    token = processor.image_token
    own = build_inputs(processor, pictures, f"First {token} then {token} at last.", model=model)
    assert own["input_ids"].tolist() == built["input_ids"].tolist()


def _between(image: torch.Tensor) -> slice:
    positions = image.nonzero()[:, 0]
    return slice(int(positions[0]), int(positions[-1]))


def test_without_template_the_prompt_is_taken_as_it_stands():
    processor = FAMILIES["llava"].fresh()[1]
    picture = FAMILIES["llava"].pictures()[0]
    raw = build_inputs(processor, picture, "A <image> B", chat="never")
    assert decoded(processor, raw).startswith("<s>A <image>")
    templated = build_inputs(processor, picture, "B")
    processor.chat_template = None  # the tokenizer has it as well
    assert build_inputs(processor, picture, "B")["input_ids"].tolist() == templated["input_ids"].tolist()
    processor.tokenizer.chat_template = None
    assert decoded(processor, build_inputs(processor, picture, "A <image> B")).startswith("<s>A <image>")
    assert decoded(processor, build_inputs(processor, picture, "B")).startswith("<s><image>")
    with pytest.raises(PromptError, match="no chat template"):
        build_inputs(processor, picture, "B", chat="always")


def test_a_template_s_start_token_is_not_doubled():
    for name in ("llava", "gemma3", "llama"):
        family = FAMILIES[name]
        processor = family.build()[1]
        ids = build_inputs(processor, family.pictures()[0], "Hello")["input_ids"][0].tolist()
        assert ids.count(getattr(processor, "tokenizer", processor).bos_token_id) == 1


@pytest.mark.parametrize(("prompt", "pictures"), [("<image> <image> What?", 1), ("<image> What?", 2), ("<image>?", 0)])
@pytest.mark.parametrize("chat", ["auto", "never"])
def test_wrong_numbers_of_placeholders(prompt, pictures, chat):
    family = FAMILIES["qwen2_vl"]
    processor = family.build()[1]
    with pytest.raises(PromptError, match=f"image placeholders for {pictures} pictures"):
        build_inputs(processor, family.pictures(images=pictures)[0][:pictures], prompt, chat=chat)


def test_prompts_that_cannot_be():
    vision, text = FAMILIES["llava"], FAMILIES["llama"]
    model, processor = vision.build()
    picture = vision.pictures()[0][0]
    for empty in ("", "  \n"):
        with pytest.raises(PromptError, match="empty"):
            build_inputs(processor, picture, empty)
    with pytest.raises(PromptError, match="text model"):
        build_inputs(text.build()[1], picture, "What?")
    with pytest.raises(PromptError, match="0 image placeholders for 1 pictures"):
        build_inputs(processor, picture, "What?", chat="never")
    with pytest.raises(PromptError, match="context holds 1024"):
        build_inputs(processor, picture, "word " * 2000, model=model)
