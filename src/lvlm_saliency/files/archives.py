"""NumPy archives (.npz) of plain arrays: written whole, and read within limits. No code in them is ever run."""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy

from lvlm_saliency.errors import InputError

from .opening import open_file
from .writing import write_bytes

MOST_BYTES = 1 << 30
"""Largest total size of all arrays, uncompressed."""


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write an archive of arrays by name, whole or not at all. Raises `InputError`."""
    buffer, named = io.BytesIO(), dict[str, Any](arrays)
    np.savez_compressed(buffer, **named)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of an archive, by name. Each member's CRC is compared.

    Raises:
        InputError: no ordinary file, no archive, damaged, or arrays that are larger than their bytes or hold objects.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES:,} bytes")
            found = {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    except InputError:
        raise
    # What zipfile raises over other damage: an unknown way of packing, a password, an offset outside of the file.
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path} is damaged ({str(error)[:200]}); delete it, and it is made anew") from error
    if len(found) != len(members):
        raise InputError(f"{path} is damaged (an array stands twice in it); delete it, and it is made anew")
    return found


def _array(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    version = npy.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"an array of format {version}")
    shape, by_columns, dtype = npy.read_array_header_1_0(stream)
    rest = content[stream.tell() :]
    if dtype.hasobject or any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(rest):
        raise ValueError(f"an array of shape {shape} and {dtype} in {len(rest)} bytes")
    return np.frombuffer(rest, dtype).reshape(shape, order="F" if by_columns else "C").copy()
