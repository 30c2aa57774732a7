"""Inputs that a user brings are checked: mistakes are named before the model stumbles over them."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import InputError, PromptError, SequenceError
from lvlm_saliency.model import families
from lvlm_saliency.model.input_checks import check_inputs
from zoo import FAMILIES, MORE, Family


def test_a_family_s_own_inputs_pass(family: Family):
    model, _ = family.build()
    for images in (1, 2):
        check_inputs(model, family.inputs(n=3, images=images), max_new_tokens=20)
    if not family.text_only:
        check_inputs(model, family.inputs(images=0))


SEEING = [name for name, family in FAMILIES.items() if not family.text_only]


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


def seeing(model_type):
    """The small model of this type that sees pictures."""
    known = {**FAMILIES, **MORE}
    return next((n for n in (model_type, f"{model_type}_vl") if n in known and not known[n].text_only), None)


NEEDS = [
    pytest.param(
        seeing(family.model_type), name, marks=[] if seeing(family.model_type) in FAMILIES else pytest.mark.slow
    )
    for family in families.FAMILIES
    if seeing(family.model_type)
    for name in family.needs
]


@pytest.mark.parametrize(("name", "needed"), NEEDS)
def test_what_a_family_needs_beside_pictures(name, needed):
    """Qwen-VL and Gemma 3 generate without it, but something else; the others fail in the midst of it."""
    if name in MORE:
        pytest.importorskip("torchvision")  # which `make families` brings, and many of their processors need
    family = {**FAMILIES, **MORE}[name]
    model, _ = family.build()
    inputs = dict(family.inputs())
    assert needed in inputs
    del inputs[needed]
    with pytest.raises(InputError, match=f"lack {needed}"):
        check_inputs(model, inputs)


PARTS = [
    (name, part)
    for name in SEEING
    for part in ("image_grid_thw", "image_sizes", "pixel_attention_mask", "mm_token_type_ids", "token_type_ids")
    if part in FAMILIES[name].inputs()
]


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_a_part_that_is_missing_is_named_by_every_call(name, part):
    model, _ = FAMILIES[name].build()
    inputs = dict(FAMILIES[name].inputs())
    del inputs[part]
    for call in (
        lambda: ls.generate(model, inputs, max_new_tokens=1),
        lambda: ls.trace(model, inputs, torch.nn.functional.pad(inputs["input_ids"], (0, 1), value=50)),
    ):
        with pytest.raises(InputError, match=f"the inputs lack {part}"):
            call()


def video(model, frames=2):
    """Inputs with a video of `frames` pairs of frames, 4 x 4 patches each."""
    vision = model.config.vision_config
    tokens = frames * 16 // vision.spatial_merge_size**2
    ids = torch.tensor([[40, *[model.config.video_token_id] * tokens, 50, 51]])
    channels = getattr(vision, "in_channels", 3)
    width = channels * vision.temporal_patch_size * vision.patch_size**2
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == model.config.video_token_id).long() * 2,
        "pixel_values_videos": torch.randn(frames * 16, width, generator=torch.Generator().manual_seed(0)),
        "video_grid_thw": torch.tensor([[frames, 4, 4]]),
        "second_per_grid_ts": torch.tensor([1.0]),
    }


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl"])
def test_videos_are_checked_as_pictures_are(name):
    model, _ = FAMILIES[name].build()
    whole = video(model)
    if name == "qwen2_vl":
        del whole["second_per_grid_ts"]
    check_inputs(model, whole)
    sequences = model.generate(**whole, max_new_tokens=2, min_new_tokens=2)
    assert ls.trace(model, whole, sequences).regions.image.sum() == 8
    for part in set(whole) - {"input_ids", "attention_mask", "pixel_values_videos"}:
        with pytest.raises(InputError, match=f"the inputs lack {part}"):
            check_inputs(model, {k: v for k, v in whole.items() if k != part})
    longer = video(model, frames=3)
    with pytest.raises(InputError, match="video_grid_thw counts 48 patches but pixel_values_videos holds 32"):
        check_inputs(model, {**whole, "video_grid_thw": longer["video_grid_thw"]})
    ids = {k: longer[k] for k in ("input_ids", "attention_mask", "mm_token_type_ids")}
    with pytest.raises(PromptError, match="holds 12 video tokens but its videos make 8"):
        check_inputs(model, {**whole, **ids})


def test_a_grid_that_is_a_list():
    model, _ = FAMILIES["qwen2_vl"].build()
    inputs = FAMILIES["qwen2_vl"].inputs(n=1)
    with pytest.raises(InputError, match="image_grid_thw is a list, not a tensor"):
        check_inputs(model, {**inputs, "image_grid_thw": inputs["image_grid_thw"].tolist()})


def test_types_of_another_length():
    model, _ = FAMILIES["qwen2_vl"].build()
    inputs = dict(FAMILIES["qwen2_vl"].inputs())
    inputs["mm_token_type_ids"] = inputs["mm_token_type_ids"][:, 1:]
    with pytest.raises(InputError, match=r"mm_token_type_ids is .* must be of one shape"):
        check_inputs(model, inputs)


@pytest.mark.parametrize("value", [2, -1, 0.5, float("nan"), float("-inf")])
def test_a_mask_of_other_values_than_0_and_1(value):
    mask = FAMILIES["llava"].inputs(n=2)["attention_mask"]
    mask = mask.float() if isinstance(value, float) else mask.clone()
    mask[0, -2] = value
    with pytest.raises(InputError, match="attention_mask holds other values than 0 and 1"):
        check(attention_mask=mask)


def test_a_mask_of_four_dimensions():
    length = FAMILIES["llava"].inputs(n=2)["input_ids"].shape[1]
    with pytest.raises(InputError, match="must be of one shape"):
        check(attention_mask=torch.zeros(2, 1, length, length))


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.int32])
@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "gemma3"])
def test_a_mask_of_another_dtype_is_the_same_mask(name, dtype):
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = dict(family.inputs(n=2))
    methods = [ls.LocoRE(beta=1.0), ls.SGRS(seed=0)]
    want = ls.generate(model, inputs, methods, max_new_tokens=5)
    rows = ls.trace(model, inputs, want.sequences).rows
    inputs["attention_mask"] = inputs["attention_mask"].to(dtype)
    assert torch.equal(ls.generate(model, inputs, methods, max_new_tokens=5).sequences, want.sequences)
    assert torch.equal(ls.trace(model, inputs, want.sequences).rows, rows)


@pytest.mark.parametrize("wrong", [-1, 400, 10**9])
def test_sequences_with_ids_outside_the_vocabulary(wrong):
    model, _ = FAMILIES["llava"].build()
    inputs = FAMILIES["llava"].inputs(n=2)
    sequences = torch.nn.functional.pad(inputs["input_ids"], (0, 3), value=50)
    sequences[1, -1] = wrong
    with pytest.raises(SequenceError, match="sequence 1 holds a token id outside the model's vocabulary of 400"):
        ls.trace(model, inputs, sequences)
