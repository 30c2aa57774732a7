"""Opens a file that a user named: an ordinary file within a size limit, or a one-line error that says why not."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from lvlm_saliency.errors import InputError

MOST_BYTES = 1 << 30
"""Largest size in bytes of a file that is read whole."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnreadableError(InputError):
    """A file cannot be opened or read.

    Args:
        reason: why, without its name.
        missing: whether there is none of this name.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str, missing: bool = False):
        super().__init__(f"{os.fspath(path)}: cannot be read ({reason})")
        self.reason, self.missing = reason, missing

    @classmethod
    def of(cls, path: str | os.PathLike[str], error: Exception) -> UnreadableError:
        """As the system's error says."""
        reason = getattr(error, "strerror", None) or str(error)
        return cls(path, reason, isinstance(error, FileNotFoundError))


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """The ordinary file at `path`, open for reading bytes.

    Pipes, sockets, devices and folders are refused, so that reading always ends. Links are followed.

    Raises:
        UnreadableError: it cannot be opened, or is no ordinary file.
    """
    # A pipe without a writer would hold up an ordinary open() for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        _check_kind(path, os.stat(path).st_mode)
        descriptor = os.open(path, flags)
    except UnreadableError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UnreadableError.of(path, error) from error
    try:
        _check_kind(path, os.fstat(descriptor).st_mode)  # it may have been exchanged in between
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_file(path: str | os.PathLike[str]) -> int:
    """Check that another library may open the file at `path`; returns its size in bytes. Raises as `open_file`."""
    with open_file(path) as file:
        return os.fstat(file.fileno()).st_size


def _check_kind(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise UnreadableError(path, f"{kind}, not an ordinary file")


def read_bytes(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """The whole file. Raises as `open_file`, and for more than `most` bytes."""
    try:
        with open_file(path) as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UnreadableError.of(path, error) from error
    if len(content) > most:
        raise UnreadableError(path, f"more than {most:,} bytes")
    return content


def read_text(path: str | os.PathLike[str], most: int = MOST_BYTES) -> str:
    """The file as text with LF line ends and no byte-order mark.

    Raises:
        UnreadableError: as `read_bytes`.
        InputError: it is not UTF-8.
    """
    return decoded(read_bytes(path, most), path).replace("\r\n", "\n").replace("\r", "\n")


def decoded(content: bytes, path: str | os.PathLike[str]) -> str:
    """UTF-8 bytes of the file `path` as text, line ends as they are, without a byte-order mark. Raises `InputError`."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error
