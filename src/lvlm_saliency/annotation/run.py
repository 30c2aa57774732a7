"""A folder of annotations: filled batch by batch, by one writer, and finished by the same call after a kill."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlm_saliency.annotation.items import Item, batches, read_items
from lvlm_saliency.annotation.ledger import ITEMS, ROWS, Ledger
from lvlm_saliency.annotation.readers import ManyProcesses, OneProcess, Readers, checked
from lvlm_saliency.annotation.settings import EVERY, AnnotateSettings
from lvlm_saliency.errors import InputError
from lvlm_saliency.evaluation.folder import RunFolder
from lvlm_saliency.evaluation.runner import Listener, Silent
from lvlm_saliency.files import json_lines as store
from lvlm_saliency.files import read_bytes
from lvlm_saliency.guard.vocabulary import SOURCES

if TYPE_CHECKING:
    from lvlm_saliency.annotation.annotator import Annotated
    from lvlm_saliency.workers import Pool

LABEL = "annotated texts"


def annotate(
    settings: AnnotateSettings,
    *,
    model: Any = None,
    processor: Any = None,
    pool: Pool | None = None,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Annotate the texts of a file (or finish doing so) into a folder.

    The folder holds `rows.jsonl` (a row per mention or token), `items.jsonl` (a line per text: how many rows, or why it
    has none) and `config.json`. The bytes of the first two depend on neither kills nor who does the work.

    Args:
        settings: what to read, and the folder.
        model, processor: loaded already; default `load_model(settings.model)`.
        pool: workers that read in place of this process (`annotation.readers.reader_pool`), entered already.
        listener: told how it goes.

    Returns:
        `{"items", "rows", "skipped", "errors": {reason: count}, "file"}`.

    Raises:
        InputError: the input, a picture or a text cannot be used.
        SettingError: unknown names, or a folder that holds an annotation with other settings.
        MemoryExhausted: a single text does not fit into memory.
    """
    listener = listener or Silent()
    items = read_items(settings.input, settings.images)
    checked(settings)
    readers: Readers = (
        OneProcess(settings, model, processor, listener) if pool is None else ManyProcesses(settings, pool, listener)
    )
    described = readers.describe()
    for line in described.notes:
        listener.note(line)
    folder = RunFolder(settings.out)
    _forget_unread(folder)
    folder.open({**_config(settings, items), **described.config})
    with store.locked(folder.path / ".lock", "wait until it is done, or give another --out"):
        ledger = Ledger(folder.path, settings.batch_size, len(items))
        done = ledger.mend()
        listener.begin(LABEL, len(items), done)
        rest = [
            [items[at] for at in batch] for batch in batches(len(items), settings.batch_size) if batch.start >= done
        ]
        for found in readers.read(rest):
            ledger.add([(_line(one), one.rows) for one in found])
            listener.advance(LABEL, len(found))
            for one in found:
                if one.error:
                    listener.note(f"left out: {one.item.where}: {one.error}")
        return _summary(ledger, folder.path / ROWS)


def _forget_unread(folder: RunFolder) -> None:
    """Take away the settings of an annotation that ended before it had read a text, as where the input had a mistake:
    nothing in the folder is of them."""
    file = folder.path / "config.json"
    if not file.exists() or "annotation" not in folder.config():
        return
    with store.locked(folder.path / ".lock", "wait until it is done, or give another --out"):
        files = [folder.path / name for name in (ROWS, ITEMS)]
        if not any(one.exists() and one.stat().st_size for one in files):
            file.unlink(missing_ok=True)


def _line(found: Annotated) -> dict[str, Any]:
    line = {"index": found.item.index, "id": found.item.id, "tokens": found.tokens}
    return {**line, "error": found.error} if found.error else line


def _config(settings: AnnotateSettings, items: Sequence[Item]) -> dict[str, Any]:
    risk = None if settings.risk is None else _sha256(settings.risk)
    named = {} if settings.words in (*SOURCES, EVERY) else {"words_sha256": _sha256(settings.words)}
    return {
        "annotation": {**settings.record(), "risk": risk, **named},
        "input": {"items": len(items), "sha256": _sha256(settings.input)},
    }


def _sha256(path: str | Path) -> str:
    return hashlib.sha256(read_bytes(Path(path))).hexdigest()


def _summary(ledger: Ledger, file: Path) -> dict[str, Any]:
    lines = list(ledger.lines())
    if len(lines) != ledger.total:
        raise InputError(f"{file.parent}: {ledger.total - len(lines)} texts were not read")
    errors: dict[str, int] = {}
    for line in lines:
        if "error" in line:
            errors[line["error"]] = errors.get(line["error"], 0) + 1
    return {
        "items": len(lines),
        "rows": sum(line["rows"] for line in lines),
        "skipped": sum(errors.values()),
        "errors": errors,
        "file": str(file),
    }
