"""Every image token lies where its layout says: proven by painting the picture and watching the features."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from lvlm_saliency.model.layout import ImageLayout, image_layouts
from zoo import FAMILIES
from zoo.paint import PAINT, PAINTED, REACH, STRONGEST, noise, touched
from zoo.seeing import ALL, SEEING, family_of
from zoo.vision import decoder_input, see_patches_alone


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


def test_idefics_without_splitting_and_internvl_without_tiles():
    processor = processor_with("smolvlm", do_image_splitting=False)
    assert [tile.kind for tile in check_place("smolvlm", 420, 260, processor=processor)[0].tiles] == ["full"]
    processor = processor_with("internvl", max_patches=1)
    assert [tile.kind for tile in check_place("internvl", 420, 260, processor=processor)[0].tiles] == ["full"]
    # the checkpoint's own word does not count: the processor class overrules it
    processor = processor_with("internvl", crop_to_patches=False)
    assert len(check_place("internvl", 420, 260, processor=processor)[0].tiles) > 1
