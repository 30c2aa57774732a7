"""VCD's noise: the schedule's published values, and who shares what."""

from __future__ import annotations

import pytest
import torch

from engine.reference import alone
from lvlm_saliency.errors import InputError
from lvlm_saliency.interventions.noise import noised, rows_of_samples, schedule
from zoo import FAMILIES

TABLE = {0: (1.0, 0.0047), 100: (0.9983, 0.0584), 500: (0.8630, 0.5052), 700: (0.593, 0.805), 999: (0.2850, 0.9585)}


def test_the_schedule_has_the_published_values():
    keep, spread = schedule()
    for step, (a, b) in TABLE.items():
        assert keep[step] == pytest.approx(a, abs=5e-4)
        assert spread[step] == pytest.approx(b, abs=5e-4)
    torch.testing.assert_close(keep**2 + spread**2, torch.ones(1000))


def test_it_belongs_to_the_sample(family):
    if family.text_only:
        pytest.skip("no pictures")
    model, _ = family.build()
    inputs = family.inputs(n=3)
    pixels = inputs["pixel_values"]
    batch = noised(model, inputs, 500, 7, [10, 11, 12])
    assert batch.shape == pixels.shape
    assert torch.equal(batch, noised(model, inputs, 500, 7, [10, 11, 12]))
    assert not torch.equal(batch, noised(model, inputs, 500, 8, [10, 11, 12]))
    row = 0
    for sample, count in enumerate(rows_of_samples(model, inputs)):
        single = alone(family, 3, sample)
        own = noised(model, single, 500, 7, [10 + sample])
        mine = batch[row : row + count]
        mine = mine if mine.dim() != 5 else mine[:, : own.shape[1]]  # a batch is filled up with empty tiles
        assert torch.equal(mine, own)
        row += count
    assert row == len(pixels)


def test_empty_tiles_stay_empty():
    family = FAMILIES["smolvlm"]
    model, _ = family.build()
    inputs = family.inputs(n=3)
    empty = (inputs["pixel_values"] == 0).flatten(2).all(-1)
    assert empty.any()
    assert not noised(model, inputs, 500, 0, range(3))[empty].any()


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen3_vl"])
def test_the_two_frames_of_a_still_picture_share_it(name):
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    vision = model.config.vision_config
    shape = (-1, 3, vision.temporal_patch_size, vision.patch_size**2)
    eps = (noised(model, inputs, 999, 0, [0, 1]) - schedule()[0][999] * inputs["pixel_values"]).view(shape)
    torch.testing.assert_close(eps[:, :, 0], eps[:, :, 1])
    assert eps.std() == pytest.approx(0.9585, abs=0.05)


def test_several_pictures_of_several_samples():
    for name in ("llava", "llava_next", "qwen2_vl", "internvl"):
        family = FAMILIES[name]
        model, _ = family.build()
        one, two = (family.inputs(n=1, images=k) for k in (1, 2))
        assert rows_of_samples(model, two) == [len(two["pixel_values"])]
        assert rows_of_samples(model, one) == [len(one["pixel_values"])]


def test_what_cannot_be_told_apart_is_refused():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = dict(family.inputs(n=2))
    inputs["pixel_values"] = torch.randn(3, *inputs["pixel_values"].shape[1:])
    with pytest.raises(InputError, match="one by one"):
        noised(model, inputs, 500, 0, [0, 1])
