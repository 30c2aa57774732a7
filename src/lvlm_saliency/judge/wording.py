"""The judge's instructions. They belong to their authors, so users supply them in a file; hashes identify the official
ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import read_mapping
from lvlm_saliency.judge.ask import sha256


@dataclass(frozen=True)
class Wording:
    """Texts by name ("system", "message", ...), with slots such as {question}.

    Attributes:
        texts: the texts.
        official: the SHA-256 of the official text of each name.
    """

    texts: Mapping[str, str]
    official: Mapping[str, str]

    def filled(self, name: str, /, **slots: str) -> str:
        """The text with its slots filled; a slot's own braces are left alone."""
        text = self.texts[name]
        pieces = []
        while text:
            found = [
                (text.index(mark), mark, value) for slot, value in slots.items() if (mark := f"{{{slot}}}") in text
            ]
            if not found:
                break
            place, mark, value = min(found)
            pieces += [text[:place], value]
            text = text[place + len(mark) :]
        return "".join([*pieces, text])

    @property
    def sha256(self) -> str:
        """One hash of all texts, in the order of their names."""
        return sha256("\0".join(f"{name}\0{self.texts[name]}" for name in sorted(self.texts)))

    @property
    def altered(self) -> list[str]:
        """The names of the texts that are not the official ones."""
        return [name for name, digest in self.official.items() if sha256(self.texts[name]) != digest]


def read_wording(path: str | Path, slots: Mapping[str, Sequence[str]], official: Mapping[str, str]) -> Wording:
    """The wording in a YAML or JSON file: a mapping of names to texts.

    Args:
        path: the file.
        slots: for every text that is needed, the slots that it must have.
        official: the hashes of the official texts.

    Raises:
        InputError: a text or a slot is missing.
    """
    found = read_mapping(path)
    texts = {}
    for name, needed in slots.items():
        text = found.get(name)
        if not isinstance(text, str):
            raise InputError(f"{path}: needs {name!r}, what the judge is told; docs/judge.md says where to get it")
        if lacking := [slot for slot in needed if f"{{{slot}}}" not in text]:
            raise InputError(f"{path}: {name!r} needs the slot {{{lacking[0]}}}")
        texts[name] = text
    return Wording(texts, {name: digest for name, digest in official.items() if name in texts})
