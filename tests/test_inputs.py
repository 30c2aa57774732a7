"""Inputs are built for every family, and mistakes in a user's own are named before the model stumbles over them."""

from __future__ import annotations

import pytest
import torch

from lvlm_saliency import families
from lvlm_saliency.errors import InputError, PromptError
from lvlm_saliency.inputs import build_inputs, check_inputs
from lvlm_saliency.regions import token_regions
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


def test_a_family_s_own_inputs_pass(family: Family):
    model, _ = family.build()
    for images in (1, 2):
        check_inputs(model, family.inputs(n=3, images=images), max_new_tokens=20)
    if not family.text_only:
        check_inputs(model, family.inputs(images=0))


@pytest.mark.parametrize("name", [name for name in SEEING if "next" not in name and "onevision" not in name])
def test_a_prompt_that_was_cut_short(name):
    """One image token too few is found without running the vision tower."""
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = family.inputs(n=2, images=2)
    image = inputs["input_ids"] == model.config.image_token_id
    row, column = image.nonzero()[-1].tolist()
    inputs["input_ids"][row, column] = 50
    with pytest.raises(
        PromptError, match=f"{int(image.sum()) - 1} image tokens but its pictures make {int(image.sum())}"
    ):
        check_inputs(model, inputs)


def changed(**changes):
    inputs = dict(FAMILIES["llava"].inputs(n=2))
    return {key: value for key, value in {**inputs, **changes}.items() if value is not None}


def check(**changes):
    check_inputs(FAMILIES["llava"].build()[0], changed(**changes))


def test_padding():
    inputs = FAMILIES["llava"].inputs(n=2)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    shorter = int((mask == 0).any(1).int().argmax())
    with pytest.raises(PromptError, match=f"prompt {shorter} is padded on the right"):
        check(input_ids=ids.flip(1), attention_mask=mask.flip(1))
    holed = mask.clone()
    holed[0, -3] = 0
    with pytest.raises(PromptError, match="prompt 0 is padded on the right"):
        check(attention_mask=holed)
    blank = mask.clone()
    blank[1] = 0
    with pytest.raises(PromptError, match="prompt 1 is empty"):
        check(attention_mask=blank)
    with pytest.raises(InputError, match="no attention_mask"):
        check(attention_mask=None)
    with pytest.raises(InputError, match="must be of one shape"):
        check(attention_mask=mask[:, 1:])


def test_ids():
    ids = FAMILIES["llava"].inputs(n=2)["input_ids"]
    with pytest.raises(InputError, match="padding=True"):
        check(input_ids=ids.tolist())
    with pytest.raises(InputError, match="no input_ids"):
        check(input_ids=None)
    with pytest.raises(InputError, match="must be integers"):
        check(input_ids=ids.float())
    with pytest.raises(InputError, match="must be integers"):
        check(input_ids=ids[0])
    with pytest.raises(PromptError, match="empty"):
        check(input_ids=ids[:, :0])
    with pytest.raises(InputError, match="vocabulary of 400"):
        check(input_ids=ids + 399)
    with pytest.raises(InputError, match="the model on cpu"):
        check(input_ids=ids.to("meta"))


def test_pictures():
    inputs = FAMILIES["llava"].inputs(n=2)
    pixels = inputs["pixel_values"]
    with pytest.raises(PromptError, match="32 image placeholders but the inputs no pictures"):
        check(pixel_values=None)
    with pytest.raises(PromptError, match="no image placeholder"):
        check(input_ids=torch.full_like(inputs["input_ids"], 50))
    with pytest.raises(InputError, match="tensor of floats"):
        check(pixel_values=pixels.to(torch.uint8))
    with pytest.raises(InputError, match="tensor of floats"):
        check(pixel_values=pixels.tolist())
    with pytest.raises(InputError, match="NaN"):
        check(pixel_values=pixels * torch.nan)
    with pytest.raises(PromptError, match="its pictures make 16"):
        check(pixel_values=pixels[:1])


def test_room_for_the_answer():
    model, _ = FAMILIES["llama"].build()
    inputs = FAMILIES["llama"].inputs()
    length = inputs["input_ids"].shape[1]
    check_inputs(model, inputs, max_new_tokens=1024 - length)
    with pytest.raises(
        PromptError, match=f"{length} tokens and {1025 - length} new ones but the model's context holds 1024"
    ):
        check_inputs(model, inputs, max_new_tokens=1025 - length)


NEEDS = [(family.model_type, name) for family in families.FAMILIES for name in family.needs]


@pytest.mark.parametrize(("name", "needed"), NEEDS)
def test_what_a_family_needs_beside_pictures(name, needed):
    """Qwen-VL and Gemma 3 generate without it, but something else; the others fail in the midst of it."""
    model, _ = FAMILIES[name].build()
    inputs = dict(FAMILIES[name].inputs())
    assert needed in inputs
    del inputs[needed]
    with pytest.raises(InputError, match=f"lack {needed}"):
        check_inputs(model, inputs)
