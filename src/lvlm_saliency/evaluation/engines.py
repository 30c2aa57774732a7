"""Who decodes: the model of this process, or workers that hold one each. The run writes down what either hands over."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from lvlm_saliency.benchmarks.base import Benchmark
from lvlm_saliency.evaluation.decoding import Batches, Decoder
from lvlm_saliency.evaluation.described import Description, Digests, describe
from lvlm_saliency.evaluation.settings import Settings
from lvlm_saliency.evaluation.systems import System
from lvlm_saliency.evaluation.work import Result, Work
from lvlm_saliency.model import provenance
from lvlm_saliency.workers import Job, Pool, Workers
from lvlm_saliency.workers.pool import Listener, span


class Engine(Protocol):
    """What a run asks of either."""

    def describe(self, benchmarks: Sequence[Benchmark], systems: Sequence[System], digests: Digests) -> Description: ...

    def decode(self, work: Iterable[Work]) -> Iterator[tuple[Work, Result]]:
        """Every batch of every piece of work, as it is done."""
        ...


class OneProcess:
    """The model of this process, one batch after the other."""

    def __init__(self, model: Any, processor: Any, settings: Settings, listener: Listener):
        self.decoder = opened(settings, model, processor)
        self.batches = Batches(settings.batch_size, listener.note)

    def describe(self, benchmarks: Sequence[Benchmark], systems: Sequence[System], digests: Digests) -> Description:
        return describe(self.decoder, benchmarks, systems, digests)

    def decode(self, work: Iterable[Work]) -> Iterator[tuple[Work, Result]]:
        for one in work:
            for result in self.batches.run(one.items, partial(self.decoder.decode, one.benchmark, one.system)):
                yield one, result


class ManyProcesses:
    """The workers of a pool, each with a `Decoder`. The batches are those of one process, so the answers are, too."""

    def __init__(self, pool: Pool, settings: Settings, listener: Listener):
        self.pool, self.settings, self.listener = pool, settings, listener

    def describe(self, benchmarks: Sequence[Benchmark], systems: Sequence[System], digests: Digests) -> Description:
        asked = (self.settings, list(benchmarks), list(systems), digests)
        return self.pool.one(_described, *asked, label="the description of the run")

    def decode(self, work: Iterable[Work]) -> Iterator[tuple[Work, Result]]:
        jobs: dict[Job, Work] = {}
        sent: dict[str, Any] = {}
        for one in work:
            if one.benchmark.name not in sent:
                sent[one.benchmark.name] = self.pool.share(one.benchmark)
            system = self.pool.share(one.system)
            for start in range(0, len(one.items), self.settings.batch_size):
                batch = [item.index for item in one.items[start : start + self.settings.batch_size]]
                job = Job(
                    _decoded,
                    (self.settings, sent[one.benchmark.name], system, batch),
                    weight=self._weight(one, len(batch)),
                    label=span(f"{one.label}, item {batch[0]}", len(batch)),
                )
                jobs[job] = one
        for job, (results, notes) in self.pool.run(list(jobs)):
            for line in notes:
                self.listener.note(line)
            for result in results:
                yield jobs[job], result

    def _weight(self, work: Work, size: int) -> float:
        """Rows that go through the model at most: what takes longest goes out first."""
        limit = work.benchmark.max_new_tokens or self.settings.max_new_tokens
        return limit * work.system.rows_per_token * (size if work.system.one_by_one else 1 + size / 8)


def decoder_pool(wanted: Workers, settings: Settings, listener: Listener) -> Pool:
    """A pool whose workers hold the model of the settings as a `Decoder`."""
    return Pool(wanted, partial(opened, settings), _introduced, listener)


def opened(settings: Settings, model: Any = None, processor: Any = None) -> Decoder:
    """The decoder of a run, with the model of its settings where none is given."""
    if model is None:
        from lvlm_saliency.model.load import load_model

        own = settings
        model, processor = load_model(own.model, dtype=own.dtype, device=own.device, revision=own.revision)
    return Decoder(model, processor, settings)


def _introduced(decoder: Decoder) -> dict[str, str]:
    return provenance.identity(decoder.model)


def _described(decoder: Decoder, settings: Settings, *asked: Any) -> Description:
    return describe(dataclasses.replace(decoder, settings=settings), *asked)


def _decoded(
    decoder: Decoder, settings: Settings, benchmark: Benchmark, system: System, indices: Sequence[int]
) -> tuple[list[Result], list[str]]:
    """The batches of these items, one as a rule, more where memory ran out; and what the user should know."""
    notes: list[str] = []
    own = dataclasses.replace(decoder, settings=settings)
    batches = Batches(settings.batch_size, notes.append)
    items = [benchmark.items[index] for index in indices]
    return list(batches.run(items, partial(own.decode, benchmark, system))), notes
