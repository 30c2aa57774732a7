"""Safetensors files of this package: checked before they are opened, and with a digest that detects any changed bit."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from lvlm_saliency.errors import InputError

from .json_values import parse_json
from .opening import UnreadableError, open_file

LONGEST_HEADER = 16 << 20
SEAL = "sha256"
"""The entry of a file's metadata that holds `seal` of its tensors and its other entries."""

_PLAIN = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL")


def read_tensors(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of a safetensors file. `kind`: what it should be, for messages ("a trace").

    `check_seal` compares them with the digest, once they are known to fit together.

    Raises:
        InputError: no ordinary file, no safetensors file, damaged, or a tensor of a type that none of ours has.
    """
    from safetensors import SafetensorError, safe_open

    metadata = read_metadata(path, kind)
    try:
        with safe_open(os.fspath(path), framework="np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as {kind}: {error}") from error
    return tensors, metadata


def check_seal(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Compare with the digest that was written. Older files have none, and pass.

    Raises:
        InputError: the content has changed.
    """
    rest = dict(metadata)
    written = rest.pop(SEAL, None)
    if written is not None and written != seal(tensors, rest):
        raise InputError(f"{path} is damaged: its content is not what was written (SHA-256 differs); make it again")


def read_metadata(path: str | os.PathLike[str], kind: str) -> dict[str, str]:
    """The metadata of a safetensors file, whose header is checked on the way: its length, its JSON, types of tensors.

    Raises:
        InputError: as `read_tensors`.
    """
    header = read_header(path, kind)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(f"{path} cannot be read as {kind}: its metadata are not texts")
    for name, about in header.items():
        if not isinstance(about, dict) or about.get("dtype") not in _PLAIN:
            raise InputError(f"{path} cannot be read as {kind}: {name[:60]!r} is of no type that {kind} holds")
    return metadata


def read_header(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """The header of a safetensors file. Raises `InputError` as `read_tensors`."""
    try:
        with open_file(path) as file:
            size, start = os.fstat(file.fileno()).st_size, file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(size - 8, LONGEST_HEADER):
                raise InputError(f"{path} cannot be read as {kind}: a header of {length:,} bytes in a file of {size:,}")
            header = parse_json(file.read(length))
    except (OSError, ValueError) as failure:
        _tell_missing(path, failure)
        raise InputError(f"{path} cannot be read as {kind}: its header is damaged ({failure})") from failure
    if not isinstance(header, dict):
        raise InputError(f"{path} cannot be read as {kind}: its header is no JSON object")
    return header


def _tell_missing(path: str | os.PathLike[str], failure: Exception) -> None:
    """Raise what `open_file` and our own checks said; let other errors pass."""
    if isinstance(failure, UnreadableError) and failure.missing:
        raise InputError(f"{path} does not exist") from failure
    if isinstance(failure, InputError):
        raise failure


def in_order(data: bytes) -> bytes:
    """A safetensors file with its metadata in the order of their names: safetensors writes them in any."""
    (length,) = struct.unpack("<Q", data[:8])
    header = parse_json(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors after it stay aligned
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def seal(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """SHA-256, as hex, of names, types, shapes and bytes of the tensors and of the metadata, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        digest.update(repr((name, values.dtype.str, values.shape)).encode())
        digest.update(values.reshape(-1).view(np.uint8).data if values.size else b"")
    digest.update(repr(sorted(metadata.items())).encode())
    return digest.hexdigest()
