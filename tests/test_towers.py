"""LLaVA with other vision towers: as many image tokens as the model makes, and each in its place in the picture."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    Dinov2WithRegistersConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PixtralVisionConfig,
    SiglipVisionConfig,
)

import lvlm_saliency as ls
from lvlm_saliency.errors import InputError, PromptError
from lvlm_saliency.model.input_checks import check_inputs
from lvlm_saliency.model.placeholders import expected_image_tokens
from zoo import FAMILIES
from zoo.family import picture

IMAGE, BREAK = 10, 11
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
SQUARE = {**SMALL, "image_size": 28, "patch_size": 7}
TOWERS = {
    "clip": (CLIPVisionConfig(**SQUARE), 1),
    "siglip": (SiglipVisionConfig(**SQUARE, vision_use_head=False), 0),
    "dinov2 with registers": (
        Dinov2WithRegistersConfig(**{**SMALL, "num_register_tokens": 3}, image_size=28, patch_size=7),
        4,
    ),
    "pixtral": (PixtralVisionConfig(**SMALL, head_dim=16, image_size=64, patch_size=8), 0),
}


def llava(vision, strategy):
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = LlamaConfig(vocab_size=200, **sizes, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    settings = {"image_token_index": IMAGE, "vision_feature_layer": -1, "vision_feature_select_strategy": strategy}
    return LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, **settings)).eval()


def inputs_with(tokens, **more):
    ids = torch.tensor([[1, 20, *tokens, 30, 31]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **more}


@pytest.mark.parametrize("strategy", ["default", "full"])
@pytest.mark.parametrize("tower", ["clip", "siglip", "dinov2 with registers"])
@pytest.mark.parametrize("pictures", [1, 2])
def test_as_many_tokens_as_the_tower_makes(tower, strategy, pictures):
    vision, beside = TOWERS[tower]
    model = llava(vision, strategy)
    each = 16 + beside - (strategy == "default")
    inputs = inputs_with([IMAGE] * each * pictures, pixel_values=torch.randn(pictures, 3, 28, 28))
    sequences = model.generate(**inputs, max_new_tokens=3, min_new_tokens=3, do_sample=False)  # the model agrees
    trace = ls.trace(model, inputs, sequences)
    assert trace.regions.image.sum() == each * pictures
    with pytest.raises(PromptError, match=f"holds {each * pictures + 1} image tokens but its pictures make"):
        check_inputs(model, inputs_with([IMAGE] * (each * pictures + 1), pixel_values=inputs["pixel_values"]))


def packed(sizes):
    rows = [([IMAGE] * (width // 8) + [BREAK]) * (height // 8) for height, width in sizes]
    pixels = torch.zeros(len(sizes), 3, max(h for h, _ in sizes), max(w for _, w in sizes))
    for canvas, (height, width) in zip(pixels, sizes, strict=True):
        canvas[:, :height, :width] = torch.randn(3, height, width)
    return inputs_with([token for row in rows for token in row], pixel_values=pixels, image_sizes=torch.tensor(sizes))


@pytest.mark.parametrize("sizes", [[(48, 64)], [(48, 64), (64, 32)], [(32, 32), (64, 64), (8, 16)]])
def test_pictures_of_any_shape_in_one_tower(sizes):
    model = llava(TOWERS["pixtral"][0], "full")
    inputs = packed(sizes)
    sequences = model.generate(**inputs, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    trace = ls.trace(model, inputs, sequences)
    assert trace.regions.image.sum() == sum(h * w // 64 for h, w in sizes)
    del inputs["image_sizes"]
    if len(sizes) > 1:
        with pytest.raises(InputError, match="lack image_sizes, without which padding counts as picture"):
            ls.trace(model, inputs, sequences)
    else:  # a single picture has no padding: the model takes it, and so does a trace
        assert torch.equal(ls.trace(model, inputs, sequences).rows, trace.rows)


def test_a_tower_that_is_not_listed_is_left_to_the_model():
    model = llava(TOWERS["clip"][0], "default")
    inputs = inputs_with([IMAGE] * 16, pixel_values=torch.randn(1, 3, 28, 28))
    assert expected_image_tokens(model.config, inputs) == 16
    model.config.vision_config.model_type = "a tower of tomorrow"
    assert expected_image_tokens(model.config, inputs) is None


def test_where_the_tokens_lie():
    processor = FAMILIES["llava"].fresh()[1]
    image = picture(2, (90, 90))
    for tower, strategy, tokens in (("siglip", "default", 15), ("siglip", "full", 16), ("clip", "full", 17)):
        model = llava(TOWERS[tower][0], strategy)
        processor.vision_feature_select_strategy = strategy
        inputs = inputs_with([IMAGE] * tokens, pixel_values=torch.randn(1, 3, 28, 28))
        layout = ls.image_layouts(processor, inputs, [image], model=model)[0][0]
        cells = dict(layout.cells())
        assert len(cells) == min(tokens, 16)
        last = cells[1 + tokens]  # two ids stand before the pictures
        assert last == pytest.approx((67.5, 67.5, 90, 90))
        first = cells[2 + (tower == "clip")]
        assert first == pytest.approx((22.5, 0, 45, 22.5) if tokens == 15 else (0, 0, 22.5, 22.5))
        assert len(layout.positions) == tokens


def test_where_the_tokens_of_a_packed_picture_lie():
    model, processor = llava(TOWERS["pixtral"][0], "full"), FAMILIES["llava"].fresh()[1]
    inputs = packed([(48, 64), (64, 32)])
    layouts = ls.image_layouts(processor, inputs, [[picture(1, (128, 96)), picture(2, (32, 64))]], model=model)[0]
    assert [layout.tiles[0].positions.shape for layout in layouts] == [(6, 8), (8, 4)]
    boxes = [list(dict(layout.cells()).values()) for layout in layouts]
    assert boxes[0][-1] == (112.0, 80.0, 128.0, 96.0)
    assert boxes[1][0] == (0.0, 0.0, 8.0, 8.0)
    found = torch.tensor([int(p) for layout in layouts for p in layout.positions])
    assert torch.equal(found, (inputs["input_ids"][0] == IMAGE).nonzero().flatten())
