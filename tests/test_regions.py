"""Regions are found in the ids, for every family, order of pictures and kind of padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlavaConfig, LlavaForConditionalGeneration

from lvlm_saliency.errors import InputError, UnsupportedModelError
from lvlm_saliency.model.regions import Regions, token_regions
from zoo import FAMILIES, REFUSED, Family


def spans(regions: Regions, row: int = 0) -> str:
    """One letter per position: s, i, p, o, and . for padding."""
    masks = {"s": regions.system, "i": regions.image, "p": regions.prompt, "o": regions.output}
    return "".join(
        next((letter for letter, mask in masks.items() if mask[row, position]), ".")
        for position in range(regions.system.shape[1])
    )


class Tiny:
    """Stands for a model where only its settings are read: image token 9, end of text 2, padding 0."""

    class config:
        image_token_id, video_token_id = 9, 8
        eos_token_id, pad_token_id = 2, 0

        @classmethod
        def get_text_config(cls, decoder: bool = False) -> type:
            return cls


def regions_of(prompt: list[int], answer: list[int] | None = None, mask: list[int] | None = None) -> Regions:
    inputs = {"input_ids": torch.tensor([prompt])}
    if mask is not None:
        inputs["attention_mask"] = torch.tensor([mask])
    return token_regions(Tiny, inputs, None if answer is None else torch.tensor([prompt + answer]))


@pytest.mark.parametrize(
    ("prompt", "answer", "expected"),
    [
        ([1, 5, 9, 9, 6], [7, 7], "ssiipoo"),
        ([9, 9, 5, 6], [7], "iippo"),
        ([1, 5, 9, 9], [7], "ssiio"),
        ([1, 9, 9, 5, 9, 6], [7], "siipipo"),
        ([1, 5, 6], [7, 7], "pppoo"),
        ([1, 8, 8, 5], [7], "siipo"),
        ([1, 9, 5], [7, 9, 9], "sipooo"),
    ],
    ids=["middle", "first", "last", "several", "none", "video", "generated image tokens are output"],
)
def test_orders_of_text_and_pictures(prompt, answer, expected):
    assert spans(regions_of(prompt, answer)) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([7, 2, 0, 0], "sipoo.."),
        ([7, 2, 2, 7], "sipoo.."),
        ([2, 0, 0, 0], "sipo..."),
        ([7, 7, 0, 0], "sipoo.."),
        ([7, 0, 7, 7], "sipoooo"),
        ([7, 7, 7, 7], "sipoooo"),
    ],
    ids=["end", "after the end", "at once", "ended by other means", "padding token as text", "never"],
)
def test_what_follows_the_end_belongs_to_no_region(answer, expected):
    assert spans(regions_of([1, 9, 5], answer)) == expected


def test_left_padding_belongs_to_no_region():
    assert spans(regions_of([0, 0, 1, 9, 5], [7], mask=[0, 0, 1, 1, 1])) == "..sipo"
    # an image id under the mask is no image
    assert spans(regions_of([9, 1, 9, 5], mask=[0, 1, 1, 1])) == ".sip"


def test_settings_of_generation_come_before_the_configuration():
    class Other(Tiny):
        class generation_config:
            eos_token_id, pad_token_id = [7, 6], 5

    inputs = {"input_ids": torch.tensor([[1, 9, 5]])}
    assert spans(token_regions(Other, inputs, torch.tensor([[1, 9, 5, 3, 2, 6, 3]]))) == "sipooo."


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9).filter(lambda i: i != 8), min_size=1, max_size=12),
    st.integers(0, 4),
    st.lists(st.integers(0, 9), max_size=6),
)
def test_regions_are_disjoint_and_cover_all_but_padding(prompt, left, answer):
    regions = regions_of([0] * left + prompt, answer, mask=[0] * left + [1] * len(prompt))
    masks = torch.stack([regions.system, regions.image, regions.prompt, regions.output])
    assert masks.sum(0).max() <= 1
    assert bool(regions.padding[0, :left].all())
    assert not bool(regions.padding[0, left : left + len(prompt)].any())
    assert int(regions.image.sum()) == prompt.count(9)


@pytest.mark.parametrize("images", [1, 2])
def test_families(family: Family, images: int):
    model, processor = family.build()
    inputs = family.inputs(n=2, images=images)
    regions = token_regions(model, inputs)
    padding = inputs["attention_mask"] == 0
    assert bool(padding.any()), "the batch must hold prompts of different lengths"
    assert torch.equal(regions.padding, padding)
    assert not regions.output.any()
    if family.text_only:
        assert not regions.system.any()
        assert not regions.image.any()
        return
    known = getattr(model.config, "image_token_id", None)
    image_token = processor.image_token_id if known is None else known  # Phi-4's configuration has none
    assert torch.equal(regions.image, inputs["input_ids"] == image_token)
    for row, prompt in enumerate(family.prompts(n=2, images=images)):
        behind = processor.tokenizer.decode(inputs["input_ids"][row][regions.prompt[row]])
        assert behind.endswith(prompt[-20:])
        first = int(regions.image[row].int().argmax())
        assert not regions.prompt[row, :first].any()
        assert not regions.system[row, first:].any()


def test_generated_tokens_of_a_family_are_output(family: Family):
    model, _ = family.build()
    inputs = family.inputs(n=2)
    sequences = model.generate(**inputs, max_new_tokens=4, do_sample=False, return_dict_in_generate=True)
    regions = token_regions(model, inputs, sequences)
    assert regions.output[:, : inputs["input_ids"].shape[1]].sum() == 0
    assert int(regions.output.sum()) == 8


def test_llava_1_5_has_35_system_tokens_and_576_of_the_picture():
    """Vicuna's system sentence is 35 tokens with the start token; 336 pixels make 24 x 24 patches."""
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(LlavaConfig())
    ids = torch.tensor([[1] + [100] * 34 + [model.config.image_token_id] * 576 + [200] * 20])
    regions = token_regions(model, {"input_ids": ids}, torch.cat([ids, torch.full((1, 8), 300)], 1))
    assert spans(regions) == "s" * 35 + "i" * 576 + "p" * 20 + "o" * 8


def test_pictures_without_a_place_in_the_sequence_are_refused():
    model, _ = FAMILIES["llama"].build()
    inputs = {"input_ids": torch.tensor([[5, 6]]), "pixel_values": torch.zeros(1, 3, 4, 4)}
    with pytest.raises(UnsupportedModelError, match="no position of the prompt holds them"):
        token_regions(model, inputs)


def test_a_text_only_prompt_for_a_vision_model_is_all_prompt():
    family = FAMILIES["qwen2_vl"]
    regions = token_regions(family.build()[0], family.inputs(images=0))
    assert set(spans(regions)) == {"p"}


def test_mistakes_are_named():
    with pytest.raises(InputError, match="no input_ids"):
        token_regions(Tiny, {})
    with pytest.raises(InputError, match="prompt and answer together"):
        token_regions(Tiny, {"input_ids": torch.ones(2, 5, dtype=torch.long)}, torch.ones(2, 3, dtype=torch.long))


def test_refused_families_are_built_too():
    """They exist for the engine's tests; here it is enough that they generate."""
    for family in REFUSED.values():
        model, _ = family.build()
        inputs = family.inputs()
        inputs.pop("token_type_ids", None)
        assert model.generate(**inputs, max_new_tokens=2).shape[0] == 1
