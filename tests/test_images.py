"""Pictures as users have them: files, frames and sizes are read as a person sees them, or refused in one clear line."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from image_files import RED, WHITE, encoded, refused
from lvlm_saliency.errors import ImageError
from lvlm_saliency.model.images import open_image


def png_header(width, height):
    """A PNG that claims a size and holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def photo(size=(40, 30), seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def test_plain_rgb_is_unchanged_and_independent_of_the_file(tmp_path):
    path = tmp_path / "p.png"
    photo().save(path)
    image = open_image(path)
    path.unlink()
    assert (image.mode, image.size) == ("RGB", (40, 30))
    assert np.array_equal(image, photo())


def test_result_of_an_open_picture_is_a_copy():
    source = photo()
    image = open_image(source)
    image.putpixel((0, 0), RED)
    assert source.getpixel((0, 0)) == photo().getpixel((0, 0))


def test_missing(tmp_path):
    assert "nothing.png" in refused(tmp_path / "nothing.png", "no such picture")


def test_folder(tmp_path):
    refused(tmp_path, "is a folder")


def test_empty_file_and_stream(tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    refused(path, "is empty")
    refused(io.BytesIO(), "is empty")


def test_odd_paths():
    refused("", "path is empty")
    refused("a\0b", "cannot read")
    refused("/dev/null", "not an ordinary file")
    refused("https://example.org/a.png", "download the picture")


def test_text_file_object():
    refused(io.StringIO("text"), "mode 'rb'")


@pytest.mark.parametrize(
    "data",
    [
        b"not a picture",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\x80\x04\x95 a pickle.",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
    ids=["text", "eps", "pickle", "svg"],
)
def test_not_a_picture(tmp_path, data):
    path = tmp_path / "odd.png"
    path.write_bytes(data)
    refused(path, "not a picture that can be read")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_truncated(tmp_path, kind):
    data = encoded(photo((200, 150)), kind)
    path = tmp_path / "cut"
    path.write_bytes(data[: len(data) * 2 // 3])
    assert open_image(io.BytesIO(data)).size == (200, 150)
    refused(path, "damaged or truncated|not a picture")


def test_animation_needs_a_frame(tmp_path):
    path = tmp_path / "a.gif"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    refused(path, "3 frames; choose one")
    assert open_image(path, frame=0).getpixel((4, 4)) == RED
    assert open_image(path, frame=2).getpixel((4, 4)) == (0, 0, 255)
    refused(path, "no frame 3", frame=3)
    refused(path, "no frame -1", frame=-1)


def test_pages_of_a_tiff_need_a_frame():
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    refused(io.BytesIO(data), "2 frames")


def test_camera_multi_picture_file_is_its_first_picture():
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(pages[0], "MPO", save_all=True, append_images=pages[1:])
    assert np.allclose(open_image(io.BytesIO(data)).getpixel((4, 4)), RED, atol=5)


def test_exif_orientation_is_applied():
    source = Image.new("RGB", (20, 10), "white")
    source.paste("red", (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise
    image = open_image(io.BytesIO(encoded(source, "PNG", exif=exif)))
    assert image.size == (10, 20)
    assert [image.getpixel((5, 2)), image.getpixel((5, 17))] == [RED, WHITE]
    assert 0x0112 not in image.getexif()


def test_too_large_is_refused_before_decoding(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(60000, 60000))
    refused(path, "too many pixels")
    path.write_bytes(png_header(12000, 9000))  # Pillow would warn and go on
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        refused(path, "more than the limit of 64,000,000")
    assert not seen
    path.write_bytes(encoded(photo((40, 30)), "PNG"))
    refused(path, "40 x 30 pixels", max_pixels=1199)
    assert open_image(path, max_pixels=1200).size == (40, 30)


def test_pillow_settings_stay_as_they_are():
    before = (Image.MAX_IMAGE_PIXELS, len(warnings.filters))
    open_image(photo())
    open_image(io.BytesIO(encoded(photo(), "PNG")))
    assert (Image.MAX_IMAGE_PIXELS, len(warnings.filters)) == before


def test_no_pixels():
    refused(Image.new("RGB", (0, 0)), "has no pixels")


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]), data=st.data())
def test_damaged_bytes_give_a_picture_or_an_image_error(kind, data):
    raw = bytearray(encoded(photo((24, 16)), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ImageError):
        assert open_image(io.BytesIO(bytes(raw))).mode == "RGB"
