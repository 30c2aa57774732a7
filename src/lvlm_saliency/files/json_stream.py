"""Walk one array of a JSON file without holding the file: COCO's annotation files are hundreds of megabytes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import open_file
from lvlm_saliency.files.json_values import DECODERS, check_value

_CHUNK = 1 << 20


def iterate(path: str | Path, *keys: str) -> Iterator[tuple[str, Any]]:
    """`(key, item)` for every item of the arrays under the top-level `keys` of the object in `path`, in file order.

    Memory stays at one chunk and one item, whatever the file's size. Raises `InputError` that names the file when it
    is missing or no such object.
    """
    try:
        with io.TextIOWrapper(open_file(path), encoding="utf-8-sig") as file:
            yield from _Walker(file, str(path)).arrays(keys)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


class _Walker:
    def __init__(self, file: TextIO, path: str) -> None:
        self.file, self.path = file, path
        self.buffer, self.position, self.ended = "", 0, False
        # Numbers are not checked here, which would slow the decoder: millions of outlines are skipped.
        self.decoder = json.JSONDecoder(object_pairs_hook=DECODERS["object_pairs_hook"])

    def arrays(self, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        self.expect("{")
        while self.peek() != "}":
            key = self.value()
            self.expect(":")
            if self.peek() == "[":
                for item in self.items():
                    if key in keys:
                        yield key, item
            else:
                self.value()
            if self.peek() == ",":
                self.expect(",")

    def items(self) -> Iterator[Any]:
        self.expect("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() == ",":
                self.expect(",")
        self.expect("]")

    def peek(self) -> str:
        """The next character that is no white space."""
        while True:
            while self.position < len(self.buffer) and self.buffer[self.position].isspace():
                self.position += 1
            if self.position < len(self.buffer):
                return self.buffer[self.position]
            if not self.fill():
                raise InputError(f"{self.path}: the JSON ends before it is complete")

    def expect(self, character: str) -> None:
        if self.peek() != character:
            raise InputError(f"{self.path}: expected {character!r} in the JSON, found {self.peek()!r}")
        self.position += 1

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                item, end = self.decoder.raw_decode(self.buffer, self.position)
            except json.JSONDecodeError as error:
                if self.fill():
                    continue  # cut by the end of the chunk, most likely
                raise InputError(f"{self.path}: not JSON ({error.msg})") from error
            except (ValueError, RecursionError) as error:  # a key twice, a number too large, nesting without end
                raise InputError(f"{self.path}: not JSON ({str(error) or 'nested too deep'})") from error
            if end == len(self.buffer) and self.fill():
                continue  # a number may go on in the next chunk
            try:
                check_value(self.buffer[self.position : end], item)
            except ValueError as error:
                raise InputError(f"{self.path}: not JSON ({error})") from error
            self.position = end
            return item

    def fill(self) -> bool:
        """Read on, forgetting what is done with; False at the end of the file."""
        chunk = "" if self.ended else self.file.read(_CHUNK)
        self.ended = not chunk
        self.buffer, self.position = self.buffer[self.position :] + chunk, 0
        return not self.ended
