"""The calibrations of a server and the guards that they made, in folders whose names the server chooses."""

from __future__ import annotations

import contextlib
import io
import re
import secrets
import shutil
import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import write_bytes
from lvlm_saliency.files.json_lines import locked
from lvlm_saliency.interventions.preset_files import Preset, model_of
from lvlm_saliency.serve.calibrations.labels import Labelled, check_readable
from lvlm_saliency.serve.faults import Fault

MOST_OPEN, MOST_GUARDS, MOST_PICTURES, MOST_BYTES = 4, 32, 2000, 2**30
"""Limits: unfinished calibrations, guards offered, pictures of one calibration, and their bytes."""
FOLDER, OPEN = re.compile(r"guard-([1-9][0-9]{0,5})"), re.compile(r"open-[0-9a-f]{16}")
PRESET, RESULT = "guard.yaml", "result"
KEPT = (".yaml", ".safetensors", ".txt", ".html", ".json")
"""Suffixes of the files of a guard that a client may download."""


@dataclass
class Calibration:
    """A calibration, from its first picture to the guard.

    Attributes:
        status: "open" (pictures may be added), "waiting", "running", "finished", "failed" or "given up".
        rows: labelled texts.
        received: number of pictures received, which numbers their files.
        size: bytes of the pictures.
        recall_loss: the fraction of correct objects that the guard may lose.
        risk: whether a risk model is fitted as well.
        stage, done, total: progress.
        guard: the name of the finished guard.
        reached: figures of the guard on held-out pictures.
        problem: why it failed.
    """

    name: str
    folder: Path
    status: str = "open"
    rows: list[dict[str, Any]] = field(default_factory=list)
    received: int = 0
    pictures: int = 0
    size: int = 0
    recall_loss: float = 0.05
    risk: bool = False
    stage: str = ""
    done: int = 0
    total: int = 0
    notes: list[str] = field(default_factory=list)
    guard: str | None = None
    reached: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def unfinished(self) -> bool:
        """Whether it counts towards the limit of unfinished calibrations."""
        return self.status in ("open", "waiting", "running")

    def view(self) -> dict[str, Any]:
        """The JSON that a client gets."""
        told = ("status", "pictures", "stage", "done", "total", "notes", "guard", "reached", "problem")
        return {"id": self.name, "object": "calibration", **{name: getattr(self, name) for name in told}}


class Calibrations:
    """All calibrations and guards of a server. root: the operator's folder; the server chooses every name in it."""

    def __init__(self, root: Path, model: Any, tokenizer: Any):
        self.root, self.model, self.tokenizer = root, model, tokenizer
        self.guards: dict[str, Sequence[Any]] = {}
        self._known: dict[str, Calibration] = {}
        self._lock = threading.Lock()
        self._held = contextlib.ExitStack()
        try:
            self._held.enter_context(locked(root / "lock"))
        except InputError as error:
            raise InputError(f"another server keeps its guards in {root}: give each its own --calibrations") from error
        for folder in sorted(root.iterdir()):
            if OPEN.fullmatch(folder.name):  # pictures left behind by a server that was killed
                shutil.rmtree(folder)
            elif FOLDER.fullmatch(folder.name) and (folder / PRESET).is_file():
                self._offer(folder)

    def _offer(self, folder: Path) -> None:
        """Offer the guard of a folder, if it was calibrated for this model's architecture."""
        preset = Preset.read(folder / PRESET)
        if all(preset.model.get(name) == value for name, value in model_of(self.model).items()):
            for method in preset.methods:
                method.check_model(self.model)
            self.guards[folder.name] = tuple(preset.methods)

    # --- from requests ---

    def begin(self) -> Calibration:
        """Begin a calibration. Raises `Fault` if there are too many unfinished ones, or too many guards."""
        with self._lock:
            if sum(one.unfinished for one in self._known.values()) >= MOST_OPEN:
                raise Fault(409, f"{MOST_OPEN} calibrations are under way: finish or delete one of them")
            if len(self.guards) >= MOST_GUARDS:
                raise Fault(409, f"{MOST_GUARDS} guards are kept here: the server's operator has to remove some")
            for old in [one for one in self._known.values() if not one.unfinished][:-MOST_GUARDS]:
                del self._known[old.name]
            name = secrets.token_urlsafe(12)
            folder = self.root / f"open-{secrets.token_hex(8)}"
            (folder / "pictures").mkdir(parents=True)
            found = self._known[name] = Calibration(name, folder)
            return found

    def one(self, name: str) -> Calibration:
        """The calibration of this name. Raises `Fault` where there is none."""
        with self._lock:
            if name not in self._known:
                raise Fault(404, "there is no such calibration")
            return self._known[name]

    def add(self, found: Calibration, given: Labelled) -> None:
        """Add a labelled picture. Raises `Fault` if it cannot be read, or the calibration holds too much already."""
        with self._lock:
            if found.status != "open":
                raise Fault(409, f"this calibration is {found.status}: it takes no more pictures")
            if found.received >= MOST_PICTURES or found.size + len(given.picture) > MOST_BYTES:
                raise Fault(413, f"a calibration takes {MOST_PICTURES} pictures of {MOST_BYTES >> 20} MiB at most")
            found.received += 1
            found.size += len(given.picture)
            file = found.folder / "pictures" / f"{found.received:06d}.picture"
        write_bytes(file, given.picture)
        try:
            check_readable(given.rows, file, self.tokenizer)
        except Fault:
            file.unlink()
            with self._lock:
                found.size -= len(given.picture)
            raise
        with self._lock:
            found.pictures += 1
            found.rows += [{"image": file.name, **row} for row in given.rows]

    def give_up(self, found: Calibration) -> None:
        """Cancel an unfinished calibration; a running one ends at its next step."""
        with self._lock:
            if not found.unfinished:
                return
            running = found.status == "running"
            found.status = "given up"
        if not running:
            self.clear(found)

    def archive(self, found: Calibration) -> bytes:
        """The guard's files as a ZIP archive. Raises `Fault` where there is no guard."""
        if found.guard is None:
            raise Fault(409, "this calibration has made no guard (yet)")
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted((self.root / found.guard).iterdir()):
                if file.is_file() and file.suffix in KEPT:
                    archive.write(file, f"{found.guard}/{file.name}")
        return content.getvalue()

    # --- from the worker ---

    def keep(self, found: Calibration) -> str:
        """Give the guard in `RESULT` a new name, offer it, and return the name."""
        with self._lock:
            numbers = [int(known[1]) for one in self.root.iterdir() if (known := FOLDER.fullmatch(one.name))]
            name = f"guard-{max(numbers, default=0) + 1}"
            (found.folder / RESULT).rename(self.root / name)
        self._offer(self.root / name)
        return name

    def clear(self, found: Calibration) -> None:
        """Delete a calibration's pictures and labels."""
        found.rows.clear()
        shutil.rmtree(found.folder, ignore_errors=True)

    def close(self) -> None:
        """Delete the pictures and labels of all unfinished calibrations."""
        for found in list(self._known.values()):
            self.clear(found)
        self._held.close()
