"""Published checkpoints, without their weights: image tokens of real pictures, counted, sorted and placed."""

from __future__ import annotations

import functools

import pytest
import torch
from PIL import Image

from lvlm_saliency.errors import UnsupportedModelError
from lvlm_saliency.model import families
from lvlm_saliency.model.layout import image_layouts
from lvlm_saliency.model.regions import token_regions
from zoo import FAMILIES, MORE
from zoo.full_size import FULL_SIZE
from zoo.seeing import family_of

PHOTO, TALL, STRIP, SQUARE, LARGE = (1024, 768), (600, 1600), (1900, 300), (200, 200), (3000, 4000)

# (checkpoint, picture) -> image tokens, grids by kind. Counted by hand from each family's published rules.
EXPECTED = {
    ("llava-1.5-7b", PHOTO): (576, {"full": [(24, 24)]}),
    ("llava-1.5-13b", STRIP): (576, {"full": [(24, 24)]}),
    # 672 x 672 is best; 1024:768 leaves 36 of 48 rows; each row ends in a newline
    ("llava-v1.6-mistral-7b", PHOTO): (576 + 36 * 49, {"thumbnail": [(24, 24)], "tile": [(18, 24)] * 4}),
    # 336 x 1008 is best; 12 of 24 rows are left
    ("llava-v1.6-mistral-7b", STRIP): (576 + 12 * 73, {"thumbnail": [(24, 24)], "tile": [(12, 24)] * 3}),
    # 768 x 1152 is best: 54 rows of 81 patches, of which 2 x 4 columns are padding
    ("llava-onevision-7b", PHOTO): (
        729 + 54 * 74,
        {"thumbnail": [(27, 27)], "tile": [(27, 23), (27, 27), (27, 23)] * 2},
    ),
    # 2304 x 2304 is best and holds 162 x 122 tokens: resampled to nine tiles' worth
    ("llava-onevision-7b", LARGE): (729 + 93 * 71, {"thumbnail": [(27, 27)], "tile": [(93, 70)]}),
    ("qwen2-vl-7b", PHOTO): (27 * 37, {"full": [(27, 37)]}),
    ("qwen2.5-vl-7b", TALL): (57 * 21, {"full": [(57, 21)]}),
    ("qwen3-vl-8b", PHOTO): (24 * 32, {"full": [(24, 32)]}),
    # 4 x 3 tiles for 4:3, and the thumbnail
    ("internvl3-8b", PHOTO): (13 * 256, {"tile": [(16, 16)] * 12, "thumbnail": [(16, 16)]}),
    ("internvl3-8b", STRIP): (7 * 256, {"tile": [(16, 16)] * 6, "thumbnail": [(16, 16)]}),
    ("internvl3-8b", SQUARE): (256, {"full": [(16, 16)]}),
    # longest edge 1456 = 4 tiles of 364; 1092 = 3 tiles
    ("idefics3-8b", PHOTO): (13 * 169, {"tile": [(13, 13)] * 12, "thumbnail": [(13, 13)]}),
    ("smolvlm2-2.2b", PHOTO): (13 * 81, {"tile": [(9, 9)] * 12, "thumbnail": [(9, 9)]}),
    ("smolvlm2-2.2b", STRIP): (5 * 81, {"tile": [(9, 9)] * 4, "thumbnail": [(9, 9)]}),
    ("gemma-3-4b", PHOTO): (256, {"full": [(16, 16)]}),
    # sides to the nearest multiple of 2 x 16 pixels
    ("Qwen3-VL-30B-A3B-Instruct", PHOTO): (24 * 32, {"full": [(24, 32)]}),
    ("Qwen3.5-27B", STRIP): (9 * 59, {"full": [(9, 59)]}),
    ("Qwen3.5-35B-A3B", PHOTO): (24 * 32, {"full": [(24, 32)]}),
    # of 2 x 14 pixels
    ("GLM-4.1V-9B-Thinking", PHOTO): (27 * 37, {"full": [(27, 37)]}),
    ("GLM-4.6V", STRIP): (11 * 68, {"full": [(11, 68)]}),
    ("GLM-4.5V", PHOTO): (27 * 37, {"full": [(27, 37)]}),
    ("GLM-OCR", STRIP): (11 * 68, {"full": [(11, 68)]}),
    ("EXAONE-4.5-33B", PHOTO): (27 * 37, {"full": [(27, 37)]}),
    ("PaddleOCR-VL", PHOTO): (27 * 37, {"full": [(27, 37)]}),
    ("ERNIE-4.5-VL-28B-A3B-PT", PHOTO): (27 * 37, {"full": [(27, 37)]}),
    # 200 x 200 is below the least number of pixels of PaddleOCR-VL, 384 x 384: 14 x 28 pixels a side
    ("PaddleOCR-VL", SQUARE): (14 * 14, {"full": [(14, 14)]}),
    # 2 x 16 pixels; a newline after each row, a mark before and one behind
    ("HunyuanOCR", PHOTO): (24 * 33 + 2, {"full": [(24, 32)]}),
    # filled up to multiples of 28 pixels
    ("Kimi-K2.6", PHOTO): (28 * 37, {"full": [(28, 37)]}),
    ("GLM-5.3-Flash", PHOTO): (28 * 37, {"full": [(28, 37)]}),
    # of the whole numbers about 768 / 28 and 1024 / 28 those with the ratio 3:4
    ("Muse-Glimmer-30B", PHOTO): (27 * 36, {"full": [(27, 36)]}),
    # at most 672 x 672 pixels: the sides over the root of 1024 x 768 / 672 x 672, to the multiple of 28 below
    ("MiniMax-M3", PHOTO): (20 * 27, {"full": [(20, 27)]}),
    ("gemma-3n-E4B", PHOTO): (256, {"full": [(16, 16)]}),
    # 280 tokens of 48 x 48 pixels at most: the sides times the root of 280 x 48 x 48 / (1024 x 768), to the one below
    ("gemma-4-e2b-it", PHOTO): (14 * 19, {"full": [(14, 19)]}),
    ("gemma-4-e2b-it", SQUARE): (16 * 16, {"full": [(16, 16)]}),
    ("gemma-4-12B-it", PHOTO): (14 * 19, {"full": [(14, 19)]}),
    # no larger than 1540 pixels; sides up to the next 28
    ("Mistral-Small-3.1-24B-Instruct-2503", PHOTO): (28 * 37, {"full": [(28, 37)]}),
    ("Mistral-Small-3.1-24B-Instruct-2503", SQUARE): (8 * 8, {"full": [(8, 8)]}),
    ("Mistral-Large-4-1T-A52B", STRIP): (9 * 55, {"full": [(9, 55)]}),
    # 3 rows of 4 tiles of 336 pixels are the smallest canvas that holds it, and the whole
    ("Llama-4-Scout-17B-16E", PHOTO): (13 * 144, {"tile": [(12, 12)] * 12, "thumbnail": [(12, 12)]}),
    ("Llama-4-Scout-17B-16E", SQUARE): (144, {"full": [(12, 12)]}),
    # 4 x 3 tiles for 4:3, and the whole
    ("aya-vision-8b", PHOTO): (13 * 169, {"tile": [(13, 13)] * 12, "thumbnail": [(13, 13)]}),
    # 2 x 2 tiles of 512 pixels are the smallest canvas that is as wide, and the whole
    ("command-a-vision-07-2025", PHOTO): (5 * 256, {"tile": [(16, 16)] * 4, "thumbnail": [(16, 16)]}),
    # 2 x 3 is the least number of tiles that fit into 448 pixels; 1 x 5 for the strip
    ("Ovis2-1B-hf", PHOTO): (7 * 256, {"thumbnail": [(16, 16)], "tile": [(16, 16)] * 6}),
    ("Ovis2-1B-hf", STRIP): (6 * 256, {"thumbnail": [(16, 16)], "tile": [(16, 16)] * 5}),
    ("deepseek-vl-1.3b-chat", TALL): (576, {"full": [(24, 24)]}),
    # windows of 504 pixels, 2 x 2 of them; of the strip's height, 7 of them
    ("Step-3.7-Flash", PHOTO): (4 * 81 + 169, {"tile": [(9, 9)] * 4, "thumbnail": [(13, 13)]}),
    ("Step-3.7-Flash", STRIP): (7 * 81 + 169, {"tile": [(9, 9)] * 7, "thumbnail": [(13, 13)]}),
    # 2 rows of 3 crops; 1194 of 1344 pixels hold the picture: 43 of 48 columns; a separator after each row
    ("Phi-4-multimodal-instruct", PHOTO): (
        32 * 44 + 1 + 16 * 17,
        {"tile": [(32, 43)], "thumbnail": [(16, 16)]},
    ),
    # 2 rows of 3 crops of 19 patches, 8 more at the edges, by 2: 23 x 33 behind the whole
    ("Molmo2-8B", PHOTO): (14 * 14 + 23 * 33, {"thumbnail": [(14, 14)], "tile": [(23, 33)]}),
    # 2 rows of 3 tiles; the whole at 256 tokens at most
    ("LFM2-VL-1.6B", PHOTO): (6 * 256 + 13 * 18, {"tile": [(16, 16)] * 6, "thumbnail": [(13, 18)]}),
}


# Vision towers that can be run on the meta device, where shapes are all there is.
SHAPED = {name for name, _ in EXPECTED if FULL_SIZE[name].family in FAMILIES}
SHAPED -= {"qwen2-vl-7b", "qwen2.5-vl-7b", "qwen3-vl-8b", "idefics3-8b", "smolvlm2-2.2b"}
SHAPED |= {"aya-vision-8b", "command-a-vision-07-2025", "Ovis2-1B-hf", "deepseek-vl-1.3b-chat", "HunyuanOCR"}


@functools.cache
def built(name: str):
    family_of(FULL_SIZE[name].family)  # skips where its packages are not
    return FULL_SIZE[name].build()


def listed(case):
    """A larger size of a family that is there already is slow to build and follows the same rules."""
    slow = FULL_SIZE[case[0]].family in MORE or case[0] == "llava-1.5-13b"
    return pytest.param(*case, marks=pytest.mark.slow if slow else [])


@pytest.mark.parametrize(("name", "size"), [listed(case) for case in EXPECTED], ids=str)
def test_image_tokens_of_a_real_picture(name, size):
    model, processor = built(name)
    pictures = [Image.new("RGB", size, (90, 120, 60))]
    inputs = FULL_SIZE[name].inputs(processor, pictures)
    image = token_regions(model, inputs).image[0]
    layout = image_layouts(processor, inputs, [pictures], model)[0][0]
    count, grids = EXPECTED[name, size]
    assert int(image.sum()) == count
    assert layout.positions.tolist() == torch.nonzero(image)[:, 0].tolist()
    kinds = {tile.kind for tile in layout.tiles}
    assert {kind: [t.positions.shape for t in layout.tiles if t.kind == kind] for kind in kinds} == grids
    if name in SHAPED:
        assert features_of(model, inputs) == count


@pytest.mark.slow
def test_image_tokens_that_have_no_place():
    """DeepSeek-OCR 2: 2 x 3 crops of 144 queries each for 4:3, then 256 of the whole, then a mark."""
    model, processor = built("DeepSeek-OCR-2")
    pictures = [Image.new("RGB", PHOTO, (90, 120, 60))]
    inputs = FULL_SIZE["DeepSeek-OCR-2"].inputs(processor, pictures)
    assert int(token_regions(model, inputs).image[0].sum()) == 6 * 144 + 256 + 1
    with pytest.raises(UnsupportedModelError, match="order of their own"):
        image_layouts(processor, inputs, [pictures], model)


def features_of(model, inputs) -> int:
    """How many feature vectors the vision side makes for the language model."""
    names = ("pixel_values", "pixel_attention_mask", "image_sizes", "batch_num_images", "num_patches")
    if model.config.model_type == "hunyuan_vl":
        names = ("pixel_values", "image_grid_thw")
    given = {name: inputs[name] for name in names if name in inputs}
    given |= {name: value.to("meta") for name, value in given.items() if name.startswith("pixel_values")}
    features = model.model.get_image_features(**given).pooler_output
    return sum(part.shape[:-1].numel() for part in ([features] if isinstance(features, torch.Tensor) else features))


def test_boxes_end_where_patches_end():
    """27 patches of 14 pixels see 378 of SigLIP's 384: a strip at the right and bottom of every tile is unseen."""
    seen = 378 / 384
    model, processor = built("llava-onevision-7b")
    pictures = [Image.new("RGB", PHOTO)]
    inputs = FULL_SIZE["llava-onevision-7b"].inputs(processor, pictures)
    thumbnail, first, second, *_ = image_layouts(processor, inputs, [pictures], model)[0][0].tiles
    assert thumbnail.box == pytest.approx((0, 0, 1024 * seen, 768 * seen))
    # on the canvas of 1152 x 768 the picture (1024 x 768) is centred: 64 pixels to the left, four columns are cut
    assert first.box == pytest.approx((4 * 14 - 64, 0, 378 - 64, 378))
    assert second.box == pytest.approx((384 - 64, 0, 384 + 378 - 64, 378))

    model, processor = built("smolvlm2-2.2b")
    inputs = FULL_SIZE["smolvlm2-2.2b"].inputs(processor, pictures)
    tiles = image_layouts(processor, inputs, [pictures], model)[0][0].tiles
    assert tiles[5].box == pytest.approx((256, 256, 256 + 256 * seen, 256 + 256 * seen))


def test_llava_crops_the_middle():
    model, processor = built("llava-1.5-7b")
    pictures = [Image.new("RGB", PHOTO)]
    inputs = FULL_SIZE["llava-1.5-7b"].inputs(processor, pictures)
    assert image_layouts(processor, inputs, [pictures], model)[0][0].tiles[0].box == pytest.approx((128, 0, 896, 768))


def test_every_listed_checkpoint_is_here():
    """The table of families promises these; the two must not drift apart."""
    listed = {checkpoint.split("/")[1] for family in families.FAMILIES for checkpoint in family.checkpoints}
    assert len(listed) == len(FULL_SIZE)
    for name, full in FULL_SIZE.items():
        family = families.find({**FAMILIES, **MORE}[full.family].model_type)
        assert any(name.split("-")[0].lower() in checkpoint.lower() for checkpoint in family.checkpoints)
    assert {name for name, _ in EXPECTED} == set(FULL_SIZE) - {"DeepSeek-OCR-2"}
