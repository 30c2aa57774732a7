"""Layouts of pictures: each image token has its place, once, in a batch too; heat maps, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lvlm_saliency.errors import InputError, SettingError, UnsupportedModelError
from lvlm_saliency.model.layout import ImageLayout, ImageTile, image_layouts
from lvlm_saliency.model.regions import token_regions
from zoo import FAMILIES, MORE, REFUSED
from zoo.paint import noise
from zoo.seeing import SEEING, family_of


@pytest.mark.parametrize("size", [(800, 300), (300, 1100), (600, 256), (2600, 300), (500, 450), (700, 200)])
def test_gemma3_pan_and_scan_of_one_of_two_pictures(size):
    """With several pictures the processor's own limits decide which of them were cut."""
    family = FAMILIES["gemma3"]
    model, processor = family.build()
    pictures = [noise(400, 400), noise(*size)]
    text = family.prompts(images=2)
    inputs = processor(images=[pictures], text=text, return_tensors="pt", do_pan_and_scan=True)
    square, long = image_layouts(processor, inputs, [pictures], model)[0]
    assert len(square.tiles) == 1
    assert len(long.tiles) == inputs["pixel_values"].shape[0] - 1


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("name", SEEING)
def test_positions_of_a_batch(name, images):
    """In a left-padded batch the layouts of each sample hold its image tokens, each once, with or without the model."""
    family = family_of(name)
    model, processor = family.build()
    inputs, pictures = family.inputs(n=3, images=images), family.pictures(n=3, images=images)
    image = token_regions(model, inputs).image
    for helper in (model, None):
        layouts = image_layouts(processor, inputs, pictures, helper)
        for row, sample in enumerate(layouts):
            positions = np.concatenate([layout.positions for layout in sample])
            assert positions.tolist() == torch.nonzero(image[row])[:, 0].tolist()
            assert [(layout.width, layout.height) for layout in sample] == [picture.size for picture in pictures[row]]


@pytest.mark.parametrize("name", SEEING)
def test_cells_lie_in_the_picture_and_tiles_cover_it(name):
    family = family_of(name)
    model, processor = family.build()
    inputs, pictures = family.inputs(n=3), family.pictures(n=3)
    for (layout,) in image_layouts(processor, inputs, pictures, model):
        covered = np.zeros((layout.height, layout.width), bool)
        for position, (left, top, right, bottom) in layout.cells():
            assert 0 <= left < right <= layout.width
            assert 0 <= top < bottom <= layout.height
            assert position in layout.positions
            covered[int(np.floor(top)) : int(np.ceil(bottom)), int(np.floor(left)) : int(np.ceil(right))] = True
        if name == "llava":  # cuts off what is longer than wide, or wider than long
            short, long = sorted((layout.width, layout.height))
            assert covered.mean() == pytest.approx(short / long, abs=0.03)
        else:
            assert covered.all()
            check_tiling([tile for tile in layout.tiles if tile.kind != "thumbnail"], layout.width, layout.height)


def check_tiling(tiles: list[ImageTile], width: int, height: int) -> None:
    """Inside the picture the tiles lie side by side, beside them less than a cell is left (anyres cuts it off)."""
    left, top, right, bottom = np.clip(np.array([tile.box for tile in tiles]).T, 0, [[width], [height]] * 2)
    assert ((right - left) * (bottom - top)).sum() == pytest.approx(
        (right.max() - left.min()) * (bottom.max() - top.min()), rel=0.01
    )
    cells = np.array([tile.cell(0, 0) for tile in tiles])
    wide, high = (cells[:, 2:] - cells[:, :2]).max(0)
    assert max(left.min(), width - right.max()) < wide
    assert max(top.min(), height - bottom.max()) < high


def grid(values, box, kind="full"):
    return ImageTile(np.asarray(values, dtype=np.int64), box, kind)


def test_heat_map_puts_each_value_into_its_cell():
    layout = ImageLayout(4, 2, (grid([[1, 2], [3, 4]], (0.0, 0.0, 4.0, 2.0)),), np.array([5]))
    values = np.array([9, 1, 2, 3, 4, 9], np.float32)
    assert layout.heatmap(values).tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]
    assert layout.heatmap(values, size=(2, 4)).tolist() == [[1, 2], [1, 2], [3, 4], [3, 4]]
    assert layout.heatmap(values).dtype == np.float32
    assert layout.positions.tolist() == [1, 2, 3, 4, 5]


def test_heat_map_is_empty_where_no_token_looks():
    layout = ImageLayout(4, 1, (grid([[0, 1]], (1.0, 0.0, 3.0, 1.0)),), np.array([], np.int64))
    assert layout.heatmap(np.array([5.0, 6.0, 0.0])).tolist() == [[0, 5, 6, 0]]


def test_heat_map_over_overlapping_grids():
    whole, part = grid([[0]], (0.0, 0.0, 4.0, 1.0), "thumbnail"), grid([[1, 2]], (0.0, 0.0, 2.0, 1.0), "tile")
    for tiles in ((whole, part), (part, whole)):
        layout = ImageLayout(4, 1, tiles, np.array([], np.int64))
        values = np.array([1.0, 3.0, 5.0])
        assert layout.heatmap(values).tolist() == [[3, 5, 1, 1]]
        assert layout.heatmap(values, tiles="all").tolist() == [[2, 3, 1, 1]]
        assert layout.heatmap(values, tiles="tile").tolist() == [[3, 5, 0, 0]]
        assert layout.heatmap(values, tiles="thumbnail").tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize("name", SEEING)
def test_heat_map_of_a_family_marks_the_cell(name):
    """All weight on one token lights up exactly that token's cell, at half the picture's size."""
    family = family_of(name)
    model, processor = family.build()
    inputs, pictures = family.inputs(), family.pictures()
    layout = image_layouts(processor, inputs, pictures, model)[0][0]
    tile = layout.tiles[-1]
    values = np.zeros(inputs["input_ids"].shape[1])
    values[tile.positions[1, 1]] = 2.0
    lit = np.argwhere(layout.heatmap(values, tiles=tile.kind) == 2.0) + 0.5
    left, top, right, bottom = tile.cell(1, 1)
    assert len(lit)
    assert (lit >= (top, left)).all()
    assert (lit <= (bottom, right)).all()
    assert len(lit) == pytest.approx((right - left) * (bottom - top), rel=0.5)


def test_mistakes_are_named():
    layout = ImageLayout(4, 1, (grid([[0, 1]], (0.0, 0.0, 4.0, 1.0)),), np.array([], np.int64))
    with pytest.raises(SettingError, match="did you mean 'tile'"):
        layout.heatmap(np.zeros(3), tiles="tiles")
    with pytest.raises(SettingError, match="no grid of kind 'thumbnail', only full"):
        layout.heatmap(np.zeros(3), tiles="thumbnail")
    with pytest.raises(SettingError, match="do not reach the last image position 1"):
        layout.heatmap(np.zeros(1))
    with pytest.raises(SettingError, match="0 x 4"):
        layout.heatmap(np.zeros(2), size=(0, 4))

    family = FAMILIES["qwen2_vl"]
    model, processor = family.build()
    inputs, pictures = family.inputs(), family.pictures()[0]
    with pytest.raises(InputError, match="pictures of 2 samples for 1 prompts"):
        image_layouts(processor, inputs, [pictures, pictures], model)
    with pytest.raises(InputError, match="PIL images, not str"):
        image_layouts(processor, inputs, [["x.png"]], model)
    with pytest.raises(InputError, match="belong together"):
        image_layouts(*_wrong_picture("internvl"))
    with pytest.raises(InputError, match="no image_grid_thw"):
        image_layouts(processor, {"input_ids": inputs["input_ids"]}, [pictures], model)


def _wrong_picture(name):
    """Inputs made from one picture, and another of quite another shape."""
    family = FAMILIES[name]
    return family.build()[1], family.inputs(), [noise(900, 40)]


def test_a_single_picture_may_be_given_bare():
    family = FAMILIES["gemma3"]
    model, processor = family.build()
    picture = family.pictures()[0][0]
    assert len(image_layouts(processor, family.inputs(), picture, model)[0]) == 1
    assert len(image_layouts(processor, family.inputs(), [picture], model)[0]) == 1
    assert image_layouts(processor, family.inputs(images=0), None, model) == [[]]


def test_a_relative_is_known_by_its_processor():
    """Qwen3-VL's mixture of experts has the same processor, and so the same grid."""
    family = FAMILIES["qwen3_vl"]
    model, processor = family.fresh()
    model.config.model_type = "qwen3_vl_moe"
    assert image_layouts(processor, family.inputs(), family.pictures(), model)[0][0].tiles[0].kind == "full"


def test_a_tokenizer_without_the_mark_of_the_parts_asks_for_the_model():
    """Ovis 2's processor calls the token of the whole picture its image token; another stands for the parts."""
    family = MORE["ovis2"]
    model, processor = family.fresh()
    inputs, pictures = family.inputs(), family.pictures()
    without = image_layouts(processor, inputs, pictures)[0][0]
    assert without.positions.tolist() == image_layouts(processor, inputs, pictures, model)[0][0].positions.tolist()
    processor.tokenizer = FAMILIES["llava"].build()[1].tokenizer
    with pytest.raises(InputError, match="pass model= as well"):
        image_layouts(processor, inputs, pictures)


def test_families_without_a_grid_are_refused():
    family = REFUSED["mllama"]
    model, processor = family.build()
    with pytest.raises(UnsupportedModelError, match="mllama: its image grid is not known here"):
        image_layouts(processor, family.inputs(), family.pictures(), model)

    class Blip2Processor:
        image_processor = tokenizer = None

    with pytest.raises(UnsupportedModelError, match="Q-Former"):
        image_layouts(Blip2Processor(), {"input_ids": [[1, 2]]}, family.pictures())
