"""Every kind of pixel is read in the colours that a person sees: inks, palettes, greys of any depth, transparency."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from image_files import RED, WHITE, encoded, refused
from lvlm_saliency.model.images import open_image


def test_cmyk():
    image = open_image(io.BytesIO(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF")))
    assert image.mode == "RGB"
    assert image.getpixel((3, 3)) == RED


def test_palette_and_its_transparency():
    picture = Image.new("P", (4, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putpixel((1, 0), 1)
    assert open_image(io.BytesIO(encoded(picture, "PNG"))).getpixel((0, 0)) == RED
    clear = open_image(io.BytesIO(encoded(picture, "PNG", transparency=0)))
    assert [clear.getpixel((0, 0)), clear.getpixel((1, 0))] == [WHITE, (0, 255, 0)]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_on_white(mode):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    result = open_image(io.BytesIO(encoded(image.convert(mode), "PNG")))
    assert [result.getpixel((0, 0)), result.getpixel((1, 0))] == [WHITE, (0, 0, 0)]


def test_colour_key_transparency():
    data = encoded(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert open_image(io.BytesIO(data)).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_brightness(kind):
    values = np.array([[0, 32896, 65535]], dtype=np.uint16)
    image = open_image(io.BytesIO(encoded(Image.fromarray(values), kind)))
    assert [image.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_grey_and_bilevel():
    assert open_image(Image.new("L", (2, 2), 77)).getpixel((0, 0)) == (77, 77, 77)
    assert open_image(Image.new("1", (2, 2), 1)).getpixel((0, 0)) == WHITE


def test_values_without_a_known_white_are_refused():
    refused(Image.fromarray(np.zeros((2, 2), np.float32)), "floating-point")
    refused(Image.fromarray(np.full((2, 2), 1 << 20, np.int32)), "beyond 16 bit")
    refused(Image.fromarray(np.full((2, 2), 255, np.int32)), "whether white is 255 or 65535 cannot be told")


@pytest.mark.parametrize("bits", [8, 16])
def test_signed_values_have_no_known_white(bits):
    values = np.array([0, 1, 2, 3, 64, 100, 120, 127], f"<i{bits // 8}")
    refused(io.BytesIO(tiff(values.tobytes(), bits, 1, signed=True)), "signed values")


def tiff(row, bits, photometric, order="<", deflate=False, signed=False):
    """A TIFF of two rows of eight grey pixels, written by hand: Pillow writes none that count from white."""
    data = zlib.compress(row * 2) if deflate else row * 2
    tags = [(256, 4, 8), (257, 4, 2), (258, 3, bits), (259, 3, 8 if deflate else 1), (262, 3, photometric)]
    tags += [(273, 4, 8 + 2 + 12 * (9 + signed) + 4), (277, 3, 1), (278, 4, 2), (279, 4, len(data))]
    tags += [(339, 3, 2)] * signed
    entries = b"".join(
        struct.pack(order + "HHI", tag, kind, 1)
        + struct.pack(order + {3: "HH", 4: "I"}[kind], value, *[0] * (kind == 3))
        for tag, kind, value in tags
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + entries + b"\0" * 4 + data


def packed(values, bits, order):
    if bits in (8, 16):
        return struct.pack(f"{order}{len(values)}{'B' if bits == 8 else 'H'}", *values)
    digits = "".join(format(value, f"0{bits}b") for value in values)
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("deflate", [False, True])
def test_a_picture_is_no_negative_whichever_end_of_its_greys_is_white(bits, order, photometric, deflate):
    largest = 2**bits - 1
    values = [0, 0, largest, largest // 2, largest, largest, 0, largest]
    data = tiff(packed(values, bits, order), bits, photometric, order, deflate)
    if (bits, order, photometric) == (16, ">", 0):
        refused(io.BytesIO(data), "not a picture that can be read")  # Pillow does not know this kind
        return
    found = np.asarray(open_image(io.BytesIO(data)))
    expected = [round(value * 255 / largest) for value in values]
    expected = [255 - grey for grey in expected] if photometric == 0 else expected
    assert found.shape == (2, 8, 3)
    assert np.abs(found[:, :, 0].astype(int) - np.array(expected)).max() <= 1


def test_twelve_bits_are_not_read_as_sixteen():
    data = tiff(packed([0, 0, 4095, 2048, 4095, 4095, 0, 4095], 12, "<"), 12, 1)
    assert np.asarray(open_image(io.BytesIO(data)))[0, :4, 0].tolist() == [0, 0, 255, 128]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_that_begins_with_white(kind):
    page = Image.new("P", (8, 8), 0)
    page.putpalette([255, 255, 255, 0, 0, 0, 200, 10, 10])
    page.paste(1, (4, 0, 8, 8))
    found = open_image(io.BytesIO(encoded(page, kind)))
    assert (found.getpixel((0, 0)), found.getpixel((7, 0))) == ((255, 255, 255), (0, 0, 0))


def test_inks_of_a_jpeg_as_adobe_stores_them():
    page = Image.new("RGB", (16, 16), "white")
    page.paste((0, 0, 0), (8, 0, 16, 16))
    data = encoded(page.convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data
    found = open_image(io.BytesIO(data))
    assert min(found.getpixel((1, 1))) > 240
    assert max(found.getpixel((14, 1))) < 15


def test_sixteen_bit_transparency_shows_white():
    grey = np.zeros((4, 4), np.uint16)
    grey[0] = 777
    image = Image.fromarray(grey)
    data = bytearray(encoded(image, "PNG"))
    at = data.index(b"IDAT") - 4
    chunk = b"tRNS" + struct.pack(">H", 777)
    data[at:at] = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    found = np.asarray(open_image(io.BytesIO(bytes(data))))
    assert (found[0] == 255).all()
    assert (found[1:] == 0).all()
