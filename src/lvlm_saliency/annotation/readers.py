"""Who reads the texts: the model of this process, or workers that hold one each. One writer takes what they find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from lvlm_saliency.annotation.annotator import Annotated, Annotator
from lvlm_saliency.annotation.items import Item
from lvlm_saliency.annotation.settings import EVERY, AnnotateSettings
from lvlm_saliency.chat import Chat
from lvlm_saliency.detection.fitted import check_ready
from lvlm_saliency.detection.registry import detector
from lvlm_saliency.detection.risk import OfRiskModel
from lvlm_saliency.evaluation.decoding import Batches
from lvlm_saliency.guard.vocabulary import open_vocabulary
from lvlm_saliency.model import provenance
from lvlm_saliency.risk.model import RiskModel
from lvlm_saliency.workers import Job, Pool, Workers
from lvlm_saliency.workers.pool import Listener, span

Batch = Sequence[Item]


@dataclass(frozen=True)
class Description:
    """What a reader says of its model: `config` for the folder, `notes` for the user."""

    config: dict[str, Any]
    notes: list[str]


class Readers(Protocol):
    """What a run asks of either."""

    def describe(self) -> Description: ...

    def read(self, batches: Sequence[Batch]) -> Iterator[list[Annotated]]:
        """What was found of every item of every batch, in their order."""
        ...


class OneProcess:
    """The model of this process. Batches that do not fit into memory are halved."""

    def __init__(self, settings: AnnotateSettings, model: Any, processor: Any, listener: Listener):
        self.settings, self.listener = settings, listener
        self.reader = opened(settings, model, processor)

    def describe(self) -> Description:
        return described(self.reader, self.settings)

    def read(self, batches: Sequence[Batch]) -> Iterator[list[Annotated]]:
        sizes: list[int] = []
        for batch in batches:
            parts = Batches(min([*sizes, len(batch)]), self.listener.note)
            yield [one for part in parts.run(batch, self.reader.annotate) for one in part]
            sizes.append(parts.size)


class ManyProcesses:
    """The workers of a pool, each with an `Annotator`."""

    def __init__(self, settings: AnnotateSettings, pool: Pool, listener: Listener):
        self.settings, self.pool, self.listener = settings, pool, listener

    def describe(self) -> Description:
        return self.pool.one(described, self.settings, label="the description of the run")

    def read(self, batches: Sequence[Batch]) -> Iterator[list[Annotated]]:
        """Batches go out in their order, so that what waits for an earlier one to come back is few."""
        jobs = {
            Job(_read, (batch,), label=span(f"text {batch[0].index}", len(batch))): number
            for number, batch in enumerate(batches)
        }
        waiting: dict[int, list[Annotated]] = {}
        due = 0
        for job, (found, notes) in self.pool.run(list(jobs)):
            for line in notes:
                self.listener.note(line)
            waiting[jobs[job]] = found
            while due in waiting:
                yield waiting.pop(due)
                due += 1


def reader_pool(wanted: Workers, settings: AnnotateSettings, listener: Listener) -> Pool:
    """A pool whose workers hold the model of the settings as an `Annotator`."""
    return Pool(wanted, partial(opened, settings), _introduced, listener)


def checked(settings: AnnotateSettings) -> None:
    """Tell what is wrong with the names and files of the settings, before a model is loaded.

    Raises:
        InputError: a file cannot be used, or a detector needs to be trained first.
    """
    for name in settings.detectors:
        check_ready(detector(name))
    _risk_and_words(settings)


def opened(settings: AnnotateSettings, model: Any = None, processor: Any = None) -> Annotator:
    """Who reads the items of a run, with the model of its settings where none is given."""
    risk, vocabulary = _risk_and_words(settings)
    if model is None:
        from lvlm_saliency.model.load import load_model

        own = settings
        model, processor = load_model(own.model, dtype=own.dtype, device=own.device, revision=own.revision)
    chat = Chat(model, processor, dtype=model.dtype)
    return Annotator(chat, settings.detectors, risk, vocabulary, settings.per, settings.skip_errors)


def described(reader: Annotator, settings: AnnotateSettings) -> Description:
    """What a reader says of its model."""
    model = reader.chat.model
    risks = [one.risk_model() for one in map(detector, settings.detectors) if isinstance(one, OfRiskModel)]
    notes = [note for one in [*risks, *([reader.risk] if reader.risk else [])] if (note := one.check(model))]
    config = {
        "model": provenance.model_record(model),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }
    return Description(config, notes)


def _risk_and_words(settings: AnnotateSettings) -> tuple[Any, Any]:
    risk = None if settings.risk is None else RiskModel.load(settings.risk)
    return risk, None if settings.words == EVERY else open_vocabulary(settings.words)


def _introduced(reader: Annotator) -> dict[str, str]:
    return provenance.identity(reader.chat.model)


def _read(reader: Annotator, batch: Batch) -> tuple[list[Annotated], list[str]]:
    notes: list[str] = []
    parts = Batches(len(batch), notes.append)
    return [one for part in parts.run(batch, reader.annotate) for one in part], notes
