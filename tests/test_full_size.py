"""Published checkpoints, without their weights: image tokens of real pictures, counted, sorted and placed."""

from __future__ import annotations

import functools

import pytest
import torch
from PIL import Image

from lvlm_saliency.model import families
from lvlm_saliency.model.layout import image_layouts
from lvlm_saliency.model.regions import token_regions
from zoo.full_size import FULL_SIZE

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
}


# Vision towers that can be run on the meta device, where shapes are all there is.
SHAPED = {name for name, _ in EXPECTED if not name.startswith(("qwen", "idefics", "smolvlm"))}


@functools.cache
def built(name: str):
    return FULL_SIZE[name].build()


@pytest.mark.parametrize(("name", "size"), list(EXPECTED), ids=str)
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


def features_of(model, inputs) -> int:
    """How many feature vectors the vision side makes for the language model."""
    names = ("pixel_values", "pixel_attention_mask", "image_sizes", "batch_num_images")
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
        family = families.find(full.family)
        assert any(name.split("-")[0] in checkpoint.lower() for checkpoint in family.checkpoints)
