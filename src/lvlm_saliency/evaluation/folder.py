"""The folder of a run: its files, and the check that it holds the run that is expected."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.benchmarks.base import Item
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation import rows
from lvlm_saliency.evaluation.settings import Shard
from lvlm_saliency.evaluation.systems import System
from lvlm_saliency.files import json_lines as store
from lvlm_saliency.files import make_folder, read_json

FORMAT = 1
FREE = ("machine",)  # parts of a configuration that may differ between processes of one run


class RunFolder:
    """config.json; inputs/ (items, with hashes); items/ and cost/ (a file per benchmark, system and shard); scores.json
    and details/; summary.md and summary.html."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def open(self, config: Mapping[str, Any]) -> None:
        """Make the folder with this configuration, or check that it holds a run of the same one.

        Raises:
            SettingError: it holds a run of another configuration; the message names what differs.
            InputError: it holds something else.
        """
        config = store.plain({"format": FORMAT, **config})
        target = self.path / "config.json"
        make_folder(self.path)
        if not target.exists():
            if any(entry.name[0] != "." for entry in self.path.iterdir()):
                raise InputError(f"{self.path} is not empty and holds no run; give another --out")
            temporary = self.path / f".config.{secrets.token_hex(6)}"
            try:
                store.write_whole(temporary, store.as_json(config, indent=1))
                os.link(temporary, target)  # unlike a rename, this fails where another shard was first
            except FileExistsError:
                pass
            finally:
                temporary.unlink(missing_ok=True)
        differences = list(_differences(self.config(), config))
        if differences:
            name, old, new = differences[0]
            more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
            raise SettingError(
                f"{self.path} holds a run with {name} = {old}, this one has {new}{more}: give another --out, "
                "or the settings in its config.json"
            )

    def config(self) -> dict[str, Any]:
        return self.load("config.json")

    def load(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder. InputError when it is missing or damaged."""
        path = self.path / name
        if not path.exists():
            raise InputError(f"{self.path} holds no finished run: {name} is missing")
        found = read_json(path)
        if not isinstance(found, dict):
            raise InputError(f"{path} is damaged: no JSON object; delete it, and the same command makes it again")
        return found

    def file(self, kind: str, benchmark: str, system: System, shard: Shard) -> Path:
        """The items or the cost file of one shard; `kind` is "items" or "cost"."""
        return self.path / kind / benchmark / f"{system.slug}.{shard.number}-of-{shard.of}.jsonl"

    def lock(self, shard: Shard) -> Path:
        return self.path / f".lock.{shard.number}-of-{shard.of}"

    def rows(self, kind: str, benchmark: str, system: System) -> list[dict[str, Any]]:
        """The lines of all shards."""
        files = sorted((self.path / kind / benchmark).glob(f"{_escaped(system.slug)}.*-of-*.jsonl"))
        check = rows.check_cost if kind == "cost" else rows.check_answer
        return [row for file in files for row in store.read_lines(file, check)]

    def answers(self, benchmark: str, system: System, items: Sequence[Item] | None = None) -> dict[int, dict[str, Any]]:
        """The answers (and failures) of all shards by item index, in order.

        Raises:
            InputError: two shards answered an item differently, or an answer belongs to none of `items`.
        """
        found: dict[int, dict[str, Any]] = {}
        for row in self.rows("items", benchmark, system):
            if items is not None and (fault := rows.check_item(row, items)):
                raise InputError(
                    f"{self.path / 'items' / benchmark}: an answer by {system.label} is not this run's ({fault}); "
                    "delete its line or its file, and its items are done anew"
                )
            if found.setdefault(row["index"], row) != row:
                raise InputError(
                    f"{self.path}: item {row['index']} of {benchmark} has two different answers by {system.label}; "
                    "start a new --out"
                )
        return dict(sorted(found.items()))


def _escaped(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _differences(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            if name or key not in FREE:
                yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        yield name.removeprefix("settings."), _short(old), _short(new)


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
