"""Checks a checkpoint before it is loaded, so that a broken one gives a one-line error and nothing unsafe is opened.

A checkpoint is a folder or a hub id. Weights are read from safetensors only: a pickle can run code when it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, errors
from safetensors import SafetensorError, safe_open

from lvlm_saliency.errors import InputError, ModelError
from lvlm_saliency.extras import installed
from lvlm_saliency.files import check_file, read_json
from lvlm_saliency.model.sizes import held_by

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_INDEX = "model.safetensors.index.json"
_READ = (".json", ".model", ".txt", ".jinja", ".tiktoken", ".spm")
_VOCABULARIES = ("tokenizer.json", "vocab.json", "added_tokens.json", _INDEX)
_MOST_SETTINGS = 64 << 20
_MOST_VOCABULARY = 1 << 30
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
SCENES = Path(__file__).parents[1] / "scenes" / "model"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that exists: `source` for `from_pretrained`, and `hub`, the keywords to pass with it."""

    source: str
    hub: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path | None:
        """The folder, or None for a hub id."""
        path = Path(self.source)
        return path if path.is_dir() else None


def is_shipped(model: Any) -> bool:
    """Whether this is the model inside the package."""
    return str(model.config.name_or_path) == str(SCENES)


def find_checkpoint(name_or_path: str, revision: str | None, local_files_only: bool | None) -> Checkpoint:
    """Find the folder or the hub repository, and check its files as far as possible without loading them.

    Raises:
        ModelError: it does not exist, lacks a file, or holds its weights only in an unsafe format.
    """
    name = str(name_or_path)
    if name == "scenes":  # the shipped model, even if a folder of that name exists (which is ./scenes)
        if not (SCENES / "config.json").is_file():
            raise ModelError(
                "the model 'scenes' is not part of this installation: install lvlm-saliency from its wheel"
            )
        name = str(SCENES)
    path = Path(name).expanduser()
    if name and path.is_dir():
        _check_folder(path)
        return Checkpoint(str(path))
    if name and path.exists():
        kind = "a file" if path.is_file() else "no folder"
        raise ModelError(f"{name} is {kind}: give the folder that holds config.json and the weights")
    if not _HUB_ID.fullmatch(name):
        raise ModelError(f"there is no folder {name!r}, and it is no hub id either (those read owner/name)")
    return Checkpoint(name, _reachable(name, revision, local_files_only))


def _check_folder(folder: Path) -> None:
    try:
        files = {file.name for file in folder.iterdir()}
    except OSError as error:
        raise ModelError(f"{folder} cannot be read ({error.strerror or error})") from error
    _check_names(str(folder), files)
    for file in sorted(files):
        if file.endswith(_READ):
            _check_file(folder / file)
    for shard in shards_of(folder, files):
        try:
            check_file(folder / shard)
            with safe_open(folder / shard, "pt"):
                pass
            held_by([folder / shard])
        except (SafetensorError, OSError, InputError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(
                f"{folder / shard} is truncated or corrupt ({first_line(error)}): download or save it again"
            ) from error


def _check_file(file: Path) -> None:
    """Check a settings file before transformers opens it: an ordinary file, not too large, plain JSON."""
    try:
        if file.suffix == ".json" and file.name not in _VOCABULARIES:
            if not isinstance(read_json(file, _MOST_SETTINGS), dict):
                raise ModelError(f"{file} cannot be read (no JSON object)")
        elif check_file(file) > _MOST_VOCABULARY:
            raise ModelError(f"{file} cannot be read (more than {_MOST_VOCABULARY:,} bytes)")
    except ModelError:
        raise
    except InputError as error:
        raise ModelError(f"a file of the checkpoint cannot be read: {error}") from error


def _check_names(where: str, files: set[str]) -> None:
    adapter = "adapter_config.json" in files
    if adapter and "config.json" not in files:
        raise ModelError(
            f"{where} holds an adapter alone: load its model, merge the adapter into it (merge_and_unload), and save "
            "that"
        )
    if adapter and not installed("peft"):  # transformers would pass over it without a word
        raise ModelError(
            f"{where} holds an adapter beside its model: pip install peft, or take adapter_config.json out to do "
            "without it"
        )
    if "config.json" not in files:
        raise ModelError(f"{where} has no config.json: it is not a checkpoint in the format of transformers")
    if any(file.endswith(".safetensors") for file in files) or _INDEX in files:
        return
    pickles = sorted(file for file in files if file.endswith(_PICKLES) and file != "training_args.bin")
    if pickles:
        raise ModelError(
            f"{where} has its weights only as a pickle ({pickles[0]}), which can run code when opened: "
            "where you trust it, load it with transformers and save_pretrained it, which writes safetensors"
        )
    raise ModelError(f"{where} has a config.json but no weights (no *.safetensors file)")


def shards_of(folder: Path, files: set[str]) -> Iterable[str]:
    """The weight files that will be read; all must exist."""
    if "model.safetensors" in files or _INDEX not in files:
        return sorted(file for file in files if file.endswith(".safetensors"))
    try:
        index = read_json(folder / _INDEX)
        shards = sorted(set(index["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{folder / _INDEX} cannot be read ({first_line(error)}): download it again") from error
    missing = [shard for shard in shards if shard not in files]
    if missing:
        raise ModelError(
            f"{folder} lacks {len(missing)} of {len(shards)} weight files (first: {missing[0]}): download them again"
        )
    return shards


def _reachable(name: str, revision: str | None, local_files_only: bool | None) -> dict[str, Any]:
    """Ask the hub which files the repository has; where it cannot be reached, use the local cache."""
    hub: dict[str, Any] = {} if revision is None else {"revision": revision}
    if local_files_only or (local_files_only is None and constants.HF_HUB_OFFLINE):
        return {**hub, "local_files_only": True}
    try:
        about = HfApi().model_info(name, revision=revision, timeout=10)
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"the hub model {name} has no revision {revision!r}") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"there is no folder {name}, and the hub has no such model or keeps it private: check the name, "
            "or log in with `hf auth login`"
        ) from error
    except (errors.HTTPError, OSError) as error:
        if local_files_only is False:
            raise ModelError(
                f"the hub cannot be reached for {name} ({first_line(error)}): give a folder instead"
            ) from error
        return {**hub, "local_files_only": True}
    _check_names(
        f"the hub model {name}", {file.rfilename for file in about.siblings or () if "/" not in file.rfilename}
    )
    return hub


def first_line(error: BaseException) -> str:
    """The message of another package's error in one short line: its first sentence.

    A missing package's second sentence is kept too: it says how to install it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return (text if isinstance(error, ImportError) else re.split(r"\. |: \(", text)[0]).rstrip(".:")
