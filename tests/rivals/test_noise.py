"""VCD's noise: the schedule's published values, and who shares what."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lvlm_saliency as ls
from engine.reference import alone
from lvlm_saliency.decoding.contrast import whole_pictures
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.interventions.noise import noised, rows_of_samples, schedule
from lvlm_saliency.model import families
from lvlm_saliency.model.pictures import _samples, tile_owners
from lvlm_saliency.model.placeholders import Part
from zoo import FAMILIES, MORE
from zoo.family import picture

TABLE = {0: (1.0, 0.0047), 100: (0.9983, 0.0584), 500: (0.8630, 0.5052), 700: (0.593, 0.805), 999: (0.2850, 0.9585)}
SEEN_ELSEWHERE = {
    "step3p7": "this model also sees pixel_values_local",
    "phi4_multimodal": "this model sees image_pixel_values",
}
"""Families whose pictures, or crops of them, have another name."""


def test_the_schedule_has_the_published_values():
    keep, spread = schedule()
    for step, (a, b) in TABLE.items():
        assert keep[step] == pytest.approx(a, abs=5e-4)
        assert spread[step] == pytest.approx(b, abs=5e-4)
    torch.testing.assert_close(keep**2 + spread**2, torch.ones(1000))


def cropped(batch, shape):
    """The part of a sample's rows that it has alone, and the rows with zeros in that part's place."""
    own = tuple(map(slice, shape))
    rest = batch.clone()
    rest[own] = 0
    return batch[own], rest


def test_it_belongs_to_the_sample(family):
    if family.text_only:
        pytest.skip("no pictures")
    model, _ = family.build()
    inputs = family.inputs(n=3)
    if family.name.startswith("minicpmv"):  # its slices carry nothing that tells whose they are
        with pytest.raises(InputError, match="pass the samples one by one"):
            noised(model, inputs, 500, 7, [10, 11, 12])
        return
    if family.name in SEEN_ELSEWHERE:
        with pytest.raises(SettingError, match=SEEN_ELSEWHERE[family.name]):
            noised(model, inputs, 500, 7, [10, 11, 12])
        return
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
        mine, fill = cropped(mine, own.shape)  # a batch is filled up with empty tiles, or smaller pictures with zeros
        assert torch.equal(mine, own)
        assert not fill.any()
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


def with_pictures_each(family, counts, seed=0):
    """A batch whose samples have so many pictures, and each of its samples by itself."""
    _, processor = family.build()
    settings = {"return_tensors": "pt", "add_special_tokens": False}
    texts = [family.prompts(1, count, seed + row)[0] for row, count in enumerate(counts)]
    pictures = [family.pictures(1, count, seed + row)[0] for row, count in enumerate(counts)]
    made = processor(images=pictures, text=texts, padding=True, **settings)
    alone = [
        processor(images=[shown], text=[text], **settings) if shown else None
        for text, shown in zip(texts, pictures, strict=True)
    ]
    return made, alone


SEEING = [name for name, family in FAMILIES.items() if not family.text_only]
COUNTS = [[2, 0], [0, 2], [1, 1], [0, 1, 2], [3, 0, 0], [2, 1, 0, 1]]


@pytest.mark.parametrize("name", SEEING)
@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_pictures_belong_to_the_prompts_that_hold_their_tokens(name, counts):
    """Never by their number: two pictures for two prompts may both be the first one's."""
    family = FAMILIES[name]
    model, _ = family.build()
    batch, alone = with_pictures_each(family, counts)
    owners = tile_owners(model, batch)
    noise = noised(model, batch, 500, 7, range(10, 10 + len(counts))).flatten(0, owners.dim() - 1)
    plain = batch["pixel_values"].flatten(0, owners.dim() - 1)
    for sample, own in enumerate(alone):
        mine = owners.flatten() == sample
        if own is None:
            assert not mine.any()
            continue
        own_tiles = tile_owners(model, own)
        tiles = own["pixel_values"].flatten(0, own_tiles.dim() - 1)
        assert torch.equal(plain[mine], tiles[own_tiles.flatten() == 0])
        expected = noised(model, own, 500, 7, [10 + sample]).flatten(0, own_tiles.dim() - 1)
        assert torch.equal(noise[mine], expected[own_tiles.flatten() == 0])
    assert torch.equal(noise[owners.flatten() < 0], plain[owners.flatten() < 0])


@pytest.mark.parametrize("name", SEEING)
def test_the_texts_of_a_mixed_batch_are_those_of_its_samples(name):
    family = FAMILIES[name]
    model, _ = family.build()
    batch, alone = with_pictures_each(family, [2, 0], seed=3)
    methods = [ls.VCD(seed=0)] + [ls.CausalMM(branch="vision", seed=1)] * (name == "llava")
    for method in methods:
        settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
        both = ls.generate(model, batch, [method], **settings).sequences[0, -6:]
        single = ls.generate(model, alone[0], [method], **settings).sequences[0, -6:]
        assert torch.equal(both, single)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_any_share_of_pictures_is_found_again(data):
    """Parts of random token counts, dealt to random samples in order, go back to them; a cut through one is refused."""
    shares = data.draw(st.lists(st.lists(st.integers(1, 9), max_size=3), min_size=1, max_size=5))
    parts = [Part(range(0), tokens) for share in shares for tokens in share]
    tokens = [sum(share) for share in shares]
    right = [sample for sample, share in enumerate(shares) for _ in share]
    assert _samples(tokens, parts) == right
    cut = [n for n, share in enumerate(shares[:-1]) if share and share[-1] > 1]
    if cut:
        at = data.draw(st.sampled_from(cut))
        tokens[at] -= 1
        tokens[at + 1] += 1
        with pytest.raises(InputError, match="in the midst of a picture"):
            _samples(tokens, parts)
    with pytest.raises(InputError, match="belong together"):
        _samples([sum(tokens) + 1], parts)


def test_tiles_in_a_row_are_found_as_well():
    """LLaVA-NeXT also takes all tiles of all pictures in one row, without the empty ones."""
    family = FAMILIES["llava_next"]
    model, _ = family.build()
    batch, _ = with_pictures_each(family, [2, 0, 1])
    owners = tile_owners(model, batch)
    flat = {**batch, "pixel_values": batch["pixel_values"].flatten(0, 1)[owners.flatten() >= 0]}
    assert tile_owners(model, flat).tolist() == owners[owners >= 0].tolist()
    noise = noised(model, batch, 500, 7, [0, 1, 2]).flatten(0, 1)[owners.flatten() >= 0]
    assert torch.equal(noised(model, flat, 500, 7, [0, 1, 2]), noise)


def test_a_grey_tile_is_not_an_empty_one():
    """A part of the picture in the mean colour is all zeros, and gets its noise like any other."""
    family = FAMILIES["llava_next"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    inputs["pixel_values"][0, 1] = 0
    assert noised(model, inputs, 500, 0, [0])[0, 1].std() > 0.3


@pytest.mark.parametrize("name", ["llava_next", "smolvlm", "qwen2_vl", "llava"])
def test_a_family_that_is_not_listed_is_asked_for_its_features(name, monkeypatch):
    family = FAMILIES[name]
    model, _ = family.build()
    batch, _ = with_pictures_each(family, [2, 0, 1])
    owners, noise = tile_owners(model, batch), noised(model, batch, 500, 7, [0, 1, 2])
    monkeypatch.setattr(families, "FAMILIES", ())
    assert torch.equal(tile_owners(model, batch), owners)
    assert torch.equal(noised(model, batch, 500, 7, [0, 1, 2]), noise)
    single = {k: v for k, v in family.inputs(n=1, images=2).items()}
    assert tile_owners(model, single).amax() == 0


def test_a_padded_picture_has_the_noise_of_its_own_size():
    """Pictures of several sizes in one tensor (a Pixtral tower): what fills up the smaller one changes nothing."""
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = dict(family.inputs(n=2))
    small = {"pixel_values": torch.rand(1, 3, 14, 28), "image_sizes": torch.tensor([[14, 28]])}
    ids = torch.full((1, 8), model.config.image_token_id)
    inputs["pixel_values"][1] = torch.nn.functional.pad(small["pixel_values"], (0, 0, 0, 14))[0]
    inputs["image_sizes"] = torch.tensor([[28, 28], [14, 28]])
    inputs["input_ids"] = torch.nn.functional.pad(ids, (8, 0)).repeat(2, 1)
    inputs["input_ids"][0] = model.config.image_token_id
    both = noised(model, inputs, 500, 7, [4, 5])
    own = noised(model, {**small, "input_ids": ids}, 500, 7, [5])
    assert torch.equal(both[1, :, :14], own[0])


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
    with pytest.raises(InputError, match="belong together"):
        noised(model, inputs, 500, 0, [0, 1])


def test_pictures_that_lie_elsewhere_too_are_not_noised_by_half():
    inputs = {"pixel_values": torch.zeros(1, 3, 4, 4), "pixel_values_local": torch.zeros(1, 2, 3, 4, 4)}
    with pytest.raises(SettingError, match="also sees pixel_values_local"):
        whole_pictures("VCD", inputs)
    assert whole_pictures("VCD", {"pixel_values": inputs["pixel_values"]}).shape == (1, 3, 4, 4)


@pytest.mark.slow
def test_the_crops_of_deepseek_ocr2_are_not_left_unnoised():
    """It sees the whole picture and crops of it under two names; without crops, VCD runs."""
    family = MORE["deepseek_ocr2"]
    model, processor = family.build()
    method, settings = ls.VCD(seed=0), {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    asked = {"text": family.prompts(1)[0], "return_tensors": "pt", "add_special_tokens": False}
    crops = processor(images=[picture(0, (400, 200))], **asked)
    assert crops["pixel_values_local"].numel()
    with pytest.raises(SettingError, match="noise changes pixel_values, and this model also sees pixel_values_local"):
        ls.generate(model, crops, [method], **settings)
    whole = processor(images=[picture(0, (100, 100))], **asked)
    made = ls.generate(model, whole, [method], **settings, output_logits=True)
    plain = ls.generate(model, whole, **settings, output_logits=True)
    assert not torch.equal(made.logits[0], plain.logits[0]), "the noise changes what is seen"
