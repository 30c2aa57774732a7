"""Every image token lies where its layout says: proven by painting the picture and watching the features."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from lvlm_saliency.errors import InputError, SettingError, UnsupportedModelError
from lvlm_saliency.model.layout import ImageLayout, ImageTile, image_layouts
from lvlm_saliency.model.regions import token_regions
from zoo import FAMILIES, MORE, REFUSED, Family
from zoo.paint import PAINT, PAINTED, REACH, STRONGEST, noise, touched
from zoo.vision import decoder_input, see_patches_alone

NO_GRID = ("deepseek_ocr2",)
ALL = {**FAMILIES, **MORE}
SEEING = [
    *(name for name, family in FAMILIES.items() if not family.text_only),
    *(pytest.param(name, marks=pytest.mark.slow) for name in MORE if name not in NO_GRID),
]


def family_of(name: str) -> Family:
    if ALL[name].needs:
        pytest.importorskip(ALL[name].needs)
    return ALL[name]


@functools.cache
def patchwise(name: str):
    model, processor = family_of(name).fresh()
    return see_patches_alone(model), processor


def check_place(name: str, width: int, height: int, pictures: int = 1, processor=None, **settings) -> list[ImageLayout]:
    """Paint small squares all over a picture: the tokens that change are those whose cells hold the paint."""
    model = patchwise(name)[0]
    processor = processor or patchwise(name)[1]
    images = [noise(width, height, seed) for seed in range(pictures)]
    text = ALL[name].prompts(images=pictures)

    def run(images):
        inputs = processor(images=[images], text=text, return_tensors="pt", add_special_tokens=False, **settings)
        inputs = inputs.to(torch.float32)
        return inputs, decoder_input(model, inputs)[0]

    inputs, before = run(images)
    layouts = image_layouts(processor, inputs, [images], model)[0]
    random = np.random.default_rng(7)
    side = min(width, height) // PAINTED.get(name, 30)
    for _ in range(6):
        number = int(random.integers(pictures))
        x, y = int(random.integers(width - side)), int(random.integers(height - side))
        paint = x, y, x + side, y + side
        painted = images[number].copy()
        painted.paste(PAINT, paint)
        change = (run([*images[:number], painted, *images[number + 1 :]])[1] - before).abs().amax(-1).numpy()
        changed = set(np.flatnonzero(change > 1e-4).tolist())

        tiles = layouts[number].tiles
        assert changed <= set().union(*(touched(tile, paint, REACH.get(name, 1 / 3)) for tile in tiles))
        for tile in tiles:
            if not (inside := touched(tile, paint, -0.1)):
                continue
            assert inside <= changed
            strongest = tile.positions.ravel()[change[tile.positions].argmax()]
            assert strongest in touched(tile, paint, STRONGEST.get(name, 0.15))
    return layouts


@pytest.mark.parametrize(
    ("width", "height"),
    [(420, 260), (250, 400), *(pytest.param(*size, marks=pytest.mark.slow) for size in ((300, 300), (640, 200)))],
)
@pytest.mark.parametrize("name", SEEING)
def test_paint_changes_the_tokens_whose_cells_hold_it(name, width, height):
    check_place(name, width, height)


@pytest.mark.parametrize("name", SEEING)
def test_paint_in_one_of_two_pictures(name):
    check_place(name, 330, 220, pictures=2)


def processor_with(name: str, **settings):
    """A copy of the family's processor with other settings for its pictures."""
    processor = FAMILIES[name].fresh()[1]
    for setting, value in settings.items():
        setattr(processor.image_processor, setting, value)
    return processor


def test_llava_padded_to_a_square():
    processor = FAMILIES["llava"].fresh()[1]
    processor.image_processor = LlavaImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, do_pad=True
    )
    layout = check_place("llava", 420, 260, processor=processor)[0]
    assert layout.tiles[0].box == (0.0, -80.0, 420.0, 340.0)
    boxes = [box for _, box in layout.cells()]
    assert min(box[1] for box in boxes) == 0
    assert max(box[3] for box in boxes) == 260


def test_llava_stretched_as_with_siglip():
    processor = processor_with("llava", size={"height": 28, "width": 28}, do_center_crop=False)
    assert check_place("llava", 420, 260, processor=processor)[0].tiles[0].box == (0.0, 0.0, 420.0, 260.0)


def test_gemma3_pan_and_scan():
    """Switched on in the call, with limits of the call: the number of blocks in the prompt tells."""
    scan = {"do_pan_and_scan": True, "pan_and_scan_min_crop_size": 64, "pan_and_scan_max_num_crops": 4}
    wide = check_place("gemma3", 610, 200, **scan)[0]
    assert [tile.kind for tile in wide.tiles] == ["thumbnail", "tile", "tile", "tile"]
    assert [tile.box for tile in wide.tiles[1:]] == [(0, 0, 204, 200), (204, 0, 408, 200), (408, 0, 610, 200)]
    tall = check_place("gemma3", 200, 460, **scan)[0]
    assert [tile.box for tile in tall.tiles[1:]] == [(0, 0, 200, 230), (0, 230, 200, 460)]
    assert [tile.kind for tile in check_place("gemma3", 300, 290, **scan)[0].tiles] == ["full"]
    assert [tile.kind for tile in check_place("gemma3", 300, 60, **scan)[0].tiles] == ["full"]  # crops would be small


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


def test_idefics_without_splitting_and_internvl_without_tiles():
    processor = processor_with("smolvlm", do_image_splitting=False)
    assert [tile.kind for tile in check_place("smolvlm", 420, 260, processor=processor)[0].tiles] == ["full"]
    processor = processor_with("internvl", max_patches=1)
    assert [tile.kind for tile in check_place("internvl", 420, 260, processor=processor)[0].tiles] == ["full"]
    # the checkpoint's own word does not count: the processor class overrules it
    processor = processor_with("internvl", crop_to_patches=False)
    assert len(check_place("internvl", 420, 260, processor=processor)[0].tiles) > 1


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
