"""Figures: both kinds, every format, wrong requests."""

from __future__ import annotations

import pytest

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.model.images import open_image

from .fabricated import fabricated, layout, picture


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_map_is_written(tmp_path, suffix):
    trace, words = fabricated(["a", "b", "$c$", "d\nx", "猫"])
    path = tmp_path / f"map.{suffix}"
    trace.plot(path, processor=words)
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")


def test_token_figure_shows_the_pictures(tmp_path):
    trace, words = fabricated()
    trace.plot(tmp_path / "with.png", token=20, processor=words, images=[picture()], layouts=[layout()])
    trace.plot(tmp_path / "without.png", token=-1)
    assert open_image(tmp_path / "with.png").width > open_image(tmp_path / "without.png").width


def test_attention_differs_from_saliency(tmp_path):
    trace, words = fabricated()
    trace.plot(tmp_path / "a.png", processor=words)
    trace.plot(tmp_path / "b.png", processor=words, measure="attention", layers=[1])
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_one_token_has_a_map(tmp_path):
    trace, words = fabricated(["word"])
    trace.plot(tmp_path / "a.png", processor=words)


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("a.bmp", {}, InputError, "end the file name"),
        ("a.png", {"token": 49}, SettingError, "49, counted from 0"),
        ("a.png", {"layers": [9]}, SettingError, "not traced"),
        ("a.png", {"measure": "attenton"}, SettingError, "did you mean 'attention'"),
        ("a.png", {"region": "pictur"}, SettingError, "unknown region"),
    ],
)
def test_wrong_requests(tmp_path, name, options, error, words):
    trace, _ = fabricated()
    with pytest.raises(error, match=words):
        trace.plot(tmp_path / name, **options)
    assert not list(tmp_path.iterdir())
