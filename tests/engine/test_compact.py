"""A trace in less space: within its stated error, refused where it cannot answer, and single samples of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import lvlm_saliency as ls
from lvlm_saliency.errors import InputError, SettingError
from report.fabricated import fabricated
from zoo import FAMILIES

REGIONS = ("output", "previous", "image", "prompt", "system", "prompt+output")


@pytest.fixture(scope="module")
def made():
    """A batch of two texts of different length, padded on both sides."""
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    pad = model.generation_config.pad_token_id
    wider = {
        "input_ids": torch.nn.functional.pad(inputs["input_ids"], (2, 0), value=0 if pad is None else pad),
        "attention_mask": torch.nn.functional.pad(inputs["attention_mask"], (2, 0)),
        "pixel_values": inputs["pixel_values"],
    }
    out = ls.generate(model, wider, max_new_tokens=6, do_sample=False)
    trace = ls.trace(model, wider, out)
    trace.valid[1, 4:] = False
    trace.rows[1, :, 4:] = 0
    trace.attention[1, :, 4:] = 0
    trace.logprobs[1, 4:] = float("nan")
    trace.entropy[1, 4:] = float("nan")
    trace.regions.output[1, -2:] = False
    return trace


def same(one, other, names=("sequences", "valid", "logprobs", "entropy")):
    for name in names:
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0, equal_nan=True)
    for name in ("system", "image", "prompt", "output"):
        assert torch.equal(getattr(one.regions, name), getattr(other.regions, name))
    assert (one.layers, one.prompt_length, one.settings) == (other.layers, other.prompt_length, other.settings)


def within(found, true):
    """The error that the docstring of `save` states, and one rounding of float32."""
    bound = torch.maximum(true * 2**-11, true.amax(-1, keepdim=True) * 2**-25) * (1 + 1e-5)
    assert ((found - true).abs() <= bound).all()


def test_half_is_within_its_stated_error_and_smaller(made, tmp_path):
    made.save(tmp_path / "full")
    made.save(tmp_path / "half", compact="half")
    again = ls.SaliencyTrace.load(tmp_path / "half")
    same(made, again)
    within(again.rows, made.rows)
    within(again.attention, made.attention)
    assert (tmp_path / "half").stat().st_size < (tmp_path / "full").stat().st_size / 1.5


def test_mean_keeps_the_scores_of_all_layers_and_refuses_those_of_one(made, tmp_path):
    made.save(tmp_path / "mean", compact="mean")
    again = ls.SaliencyTrace.load(tmp_path / "mean")
    same(made, again)
    assert again.layer_mean
    within(again.rows, made.rows.mean(1, keepdim=True))
    for region in REGIONS:
        torch.testing.assert_close(again.scores(region), made.scores(region), rtol=2e-3, atol=1e-7, equal_nan=True)
        torch.testing.assert_close(again.scores(region, made.layers), again.scores(region), equal_nan=True)
    with pytest.raises(SettingError, match="mean of its layers"):
        again.scores("output", [made.layers[0]])
    again.to_html(tmp_path / "page.html")
    again.plot(tmp_path / "map.png")
    with pytest.raises(SettingError, match="mean of its layers"):
        again.plot(tmp_path / "map.png", layers=[made.layers[0]])
    again.save(tmp_path / "again", compact="mean")
    within(ls.SaliencyTrace.load(tmp_path / "again").rows, again.rows)


def test_faint_rows_survive_half_precision(tmp_path):
    trace, _ = fabricated(layers=2)
    trace.rows *= 1e-6
    trace.save(tmp_path / "t", compact="half")
    within(ls.SaliencyTrace.load(tmp_path / "t").rows, trace.rows)


def test_what_cannot_be_compact_is_refused(made, tmp_path):
    with pytest.raises(SettingError, match="did you mean 'half'"):
        made.save(tmp_path / "t", compact="hafl")
    trace, _ = fabricated(layers=2)
    trace.rows[0, 0, 0, -1] = 0.5  # to the right of what the first token sees
    with pytest.raises(InputError, match="where a token cannot see"):
        trace.save(tmp_path / "t", compact="half")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("compact", ["half", "mean"])
def test_damage_of_a_compact_file_is_found(made, tmp_path, compact):
    from safetensors import safe_open

    path = tmp_path / "t"
    made.save(path, compact=compact)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    arrays = load_file(path)
    for change in (
        {"rows.values": arrays["rows.values"][1:]},
        {"rows.values": arrays["rows.values"] * np.float16(-1)},
        {"rows.scale": arrays["rows.scale"][:, :, 1:]},
        {"rows.scale": arrays["rows.scale"].astype(np.float16)},
        {"attention.scale": arrays["attention.scale"] * np.float32("nan")},
        {"valid": ~arrays["valid"]},
        {"rows.values": arrays["rows.values"] * np.float16(0.5)},
    ):
        save_file(arrays | change, path, metadata=metadata)
        with pytest.raises(InputError, match="is damaged"):
            ls.SaliencyTrace.load(path)


def test_sample_of_a_batch_is_what_it_would_be_alone(made):
    for number, length in ((0, 6), (1, 4)):
        alone = made.sample(number)
        pad = made.padding(number)
        assert pad >= 2
        assert alone.token_ids.tolist() == [made.token_ids[number, :length].tolist()]
        assert not alone.regions.padding.any()
        for region in REGIONS:
            expected = made.scores(region)[number, :length]
            torch.testing.assert_close(alone.scores(region)[0], expected, equal_nan=True)
        assert torch.equal(alone.rows[0], made.rows[number, :, :length, pad : made.prompt_length + length - 1])
    with pytest.raises(SettingError, match="no sample 2"):
        made.sample(2)


def test_layout_moves_with_its_sequence():
    from report.fabricated import layout

    before = layout(first=5)
    after = before.moved(3)
    assert after.positions.tolist() == (before.positions - 3).tolist()
    assert (after.width, after.tiles[0].box) == (before.width, before.tiles[0].box)
