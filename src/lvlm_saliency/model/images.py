"""Opens a user's picture of any kind as an RGB image, or raises a one-line error that says why not.

Only raster formats are tried (Pillow would hand an EPS file to Ghostscript), the header is checked before any pixel is
decoded, and no setting of Pillow's is changed.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TypeVar

import numpy as np
from PIL import Image, ImageOps

from lvlm_saliency.errors import ImageError

MAX_PIXELS = 64_000_000
MAX_BYTES = 512 * 1024 * 1024
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
READABLE = "PNG, JPEG, WebP, GIF, BMP, TIFF, PPM, JPEG 2000, AVIF or ICO"
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of a TIFF
_SAMPLE_FORMAT, _SIGNED = 339, 2
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
STILL = 0.1
"""Seconds that a frame is shown whose animation does not say it, as browsers do."""
Found = TypeVar("Found")


def open_image(
    source: str | os.PathLike[str] | IO[bytes] | Image.Image,
    *,
    max_pixels: int = MAX_PIXELS,
    frame: int | None = None,
) -> Image.Image:
    """Read one picture as a new RGB image.

    It is upright (its EXIF orientation applied), with transparency laid on white, greys of 12 and 16 bit scaled to 8
    bit (inverted where the file counts from white), and CMYK converted. ICC profiles are not applied.

    Args:
        source: a path, a binary file object, or a picture that is already open.
        max_pixels: limit on width x height as the header states them, checked before anything is decoded. Pillow's own
            limit, `PIL.Image.MAX_IMAGE_PIXELS`, holds as well.
        frame: which frame or page to read, from 0; required where a file holds several.

    Raises:
        ImageError: missing, a folder, empty, not a picture, truncated or damaged, too large, several frames.
    """
    if isinstance(source, Image.Image):
        return _decode(source, "the picture", max_pixels, frame)
    if isinstance(source, (str, os.PathLike)):
        return _from_path(source, lambda image, name: _decode(image, name, max_pixels, frame))
    data = source.read(MAX_BYTES + 1)
    if not isinstance(data, bytes):
        raise ImageError("a picture must be read from a binary file object; open the file with mode 'rb'")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the picture is longer than {MAX_BYTES >> 20} MiB; give a smaller one")
    if not data:
        raise ImageError("the picture is empty (0 bytes)")
    return _opened(io.BytesIO(data), "the picture", lambda image, name: _decode(image, name, max_pixels, frame))


def check_path(name: str) -> None:
    """Raise `ImageError` unless this is the path of an ordinary file that holds something."""
    if not name:
        raise ImageError("the picture's path is empty; give the path of a picture file")
    if "://" in name:
        raise ImageError(f"{name!r} is an address, not a file; download the picture and give its path")
    try:
        status = os.stat(name)
    except FileNotFoundError as error:
        raise ImageError(f"no such picture: {name!r}") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot read picture {name!r}: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{name!r} is a folder; give the path of one picture")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{name!r} is not an ordinary file; give the path of a picture file")
    if status.st_size == 0:
        raise ImageError(f"picture {name!r} is empty (0 bytes)")


def frame_lengths(path: str | os.PathLike[str]) -> list[float]:
    """How long each frame of a picture file is shown, in seconds; of a still or a file of pages, one entry.

    Raises:
        ImageError: as `open_image`.
    """

    def lengths(image: Image.Image, name: str) -> list[float]:
        _check_size(image, name, MAX_PIXELS)
        found = []
        for frame in range(getattr(image, "n_frames", 1) if image.format in ANIMATED else 1):
            image.seek(frame)
            image.load()  # an animated WebP says its times with the pixels
            found.append(image.info.get("duration", 0) / 1000 or STILL)
        return found

    return _from_path(path, lengths)


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file that can be read is one of the formats of pictures, damaged or not."""
    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]).close()
    except Image.UnidentifiedImageError:
        return False
    except (Image.DecompressionBombError, OSError, ValueError, SyntaxError):  # it is one, and `open_image` says why not
        return True
    return True


def _from_path(path: str | os.PathLike[str], use: Callable[[Image.Image, str], Found]) -> Found:
    name = os.fspath(path)
    check_path(name)
    try:
        with open(name, "rb") as file:
            return _opened(file, repr(name), use)
    except OSError as error:
        raise ImageError(f"cannot read picture {name!r}: {error.strerror or error}") from error


def _opened(file: IO[bytes], name: str, use: Callable[[Image.Image, str], Found]) -> Found:
    """What `use` makes of the picture in the file, and of what messages call it."""
    Image.init()
    try:
        with warnings.catch_warnings():
            # Pillow warns of corrupt metadata and of large pictures; the checks below decide, with messages of our own.
            warnings.simplefilter("ignore")
            image = Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
            with image:
                return use(image, name)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} has too many pixels for Pillow to open it safely; give a smaller one") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture that can be read; save it as {READABLE}") from error
    # A damaged file makes Pillow's decoders raise errors of almost any type.
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name} is damaged or truncated: {detail}") from error


def _decode(image: Image.Image, name: str, max_pixels: int, frame: int | None) -> Image.Image:
    _check_size(image, name, max_pixels)
    _select_frame(image, name, frame)
    _check_size(image, name, max_pixels)  # the pages of a TIFF differ in size
    if _SIGNED in getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, ()):
        raise ImageError(f"{name} stores signed values without a known black and white; save it as 8-bit PNG")
    image.load()
    return _to_rgb(ImageOps.exif_transpose(image), name, _Greys.of(image))


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    size = f"{image.width} x {image.height}"
    if image.width < 1 or image.height < 1:
        raise ImageError(f"{name} has no pixels ({size})")
    if image.width * image.height > max_pixels:
        raise ImageError(f"{name} has {size} pixels, more than the limit of {max_pixels:,}; give a smaller one")


def _select_frame(image: Image.Image, name: str, frame: int | None) -> None:
    # Further pictures in an MPO file are previews or a stereo camera's second eye, in an ICO file other sizes.
    frames = 1 if image.format in ("MPO", "ICO") else getattr(image, "n_frames", 1)
    if frame is None and frames > 1:
        raise ImageError(f"{name} holds {frames} frames; choose one with frame=0 (--frame 0) to frame={frames - 1}")
    if frame is not None:
        if not 0 <= frame < frames:
            raise ImageError(f"{name} has no frame {frame}; it has {frames}, counted from 0")
        if frames > 1:
            image.seek(frame)


@dataclass(frozen=True)
class _Greys:
    """How a file stores greys beyond 8 bit. Pillow returns them as stored: inverted where a TIFF counts from white, and
    0 to 4095 where it holds 12 bits. transparent: the value that is transparent in a PNG. in_memory: it comes from no
    file that says how many bits count."""

    from_white: bool = False
    largest: int = 65535
    transparent: int | None = None
    in_memory: bool = False

    @classmethod
    def of(cls, image: Image.Image) -> _Greys:
        transparent = image.info.get("transparency")
        transparent = transparent if isinstance(transparent, int) else None
        tags = getattr(image, "tag_v2", None)
        if tags is None or image.mode not in SIXTEEN_BIT:
            return cls(transparent=transparent, in_memory=image.format is None)
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        return cls(tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, 2**bits - 1, transparent)


def _to_rgb(image: Image.Image, name: str, greys: _Greys) -> Image.Image:
    if image.mode == "F":
        raise ImageError(f"{name} stores floating-point values without a known white; save it as 8-bit PNG")
    if image.mode == "I" or image.mode in SIXTEEN_BIT:
        return _sixteen_bit(image, name, greys)
    if image.has_transparency_data or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    try:
        converted = image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"{name} has the colour mode {image.mode}, which cannot be shown; save it as RGB") from error
    # convert() hands back the same object for RGB; the caller owns what it gets, without the file behind it.
    return converted.copy() if converted is image else converted


def _sixteen_bit(image: Image.Image, name: str, greys: _Greys) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > greys.largest:
        raise ImageError(
            f"{name} stores {values.min()} to {values.max()} per pixel, beyond 16 bit; save it as 8-bit PNG"
        )
    if image.mode == "I" and greys.in_memory and values.max() <= 255:
        raise ImageError(
            f"{name} holds {values.min()} to {values.max()} in pixels of 32 bit: whether white is 255 or 65535 cannot "
            "be told; make it from an array of uint8 or uint16"
        )
    if greys.from_white:
        values = greys.largest - values
    if greys.transparent is not None:
        values = np.where(values == greys.transparent, greys.largest, values)
    return Image.fromarray(((values * 255 + greys.largest // 2) // greys.largest).astype(np.uint8)).convert("RGB")
