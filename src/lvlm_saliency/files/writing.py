"""Writes files atomically: a reader never sees half a file, and a failed write leaves the old file and nothing else."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvlm_saliency.errors import InputError


def check_writable(path: str | os.PathLike[str]) -> Path:
    """The path, once it is known that a file can be put there; folders that are missing are made.

    Raises `InputError`. Called before a model runs, so that no result is computed that has nowhere to go.
    """
    target = Path(path)
    try:
        if target.is_dir():
            raise InputError(f"cannot write {str(target)!r}: it is a folder; give a file name")
        if target.exists() and not target.is_file():
            raise InputError(f"cannot write {str(target)!r}: it is no ordinary file; give another name")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _cannot(target, error) from error
    return target


def make_folder(path: str | os.PathLike[str]) -> Path:
    """The folder, made with those above it where they are missing. Raises `InputError`."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"cannot make {str(folder)!r}: {getattr(error, 'strerror', None) or error}") from error
    return folder


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix; moved over `path` when the block ends without an error.

    Raises `InputError` where the file cannot be written; the temporary file is gone then, and an old `path` as it was.
    """
    target = check_writable(path)
    temporary = target.with_name(f".{target.stem[:40]}-{secrets.token_hex(6)}{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise _cannot(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8 with LF line ends as they are, whole or not at all. Raises `InputError`."""
    return write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content`, whole or not at all. Raises `InputError`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def append_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Append `content` and flush it to disk; where that fails, nothing of it remains. Raises `InputError`."""
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            raise InputError(f"cannot write {str(target)!r}: it is no ordinary file; give another name")
        make_folder(target.parent)
        with target.open("ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), before)
                raise
    except OSError as error:
        raise _cannot(target, error) from error


def _cannot(target: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(f"cannot write {str(target)!r}: {reason}")
